-- use: always come_due
-- args: question keep
if not box then return {''} end
come_due()
close_wait(ARG.question, ARG.keep == '1')
note_emptiness()
return done()
