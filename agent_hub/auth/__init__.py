"""The proofs: who a credential belongs to. What that one may do is the core's to say."""
