"""Groups of the command line, one module each; `backend.cli` joins them."""
