-- use: always views
-- args: question
if not box then return {''} end
come_due()
return done(unpack(view(ARG.question)))
