"""Voice: full-duplex conversations that know what was heard."""
