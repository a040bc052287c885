"""Many sequences, or one in pieces, mapped by any number of workers that share a folder."""
