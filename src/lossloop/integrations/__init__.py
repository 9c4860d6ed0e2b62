"""One file or folder per outside system; each stands on the core and on the contracts alone."""
