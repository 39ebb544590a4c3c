"""The static site: a board as pages that link to each other, made once, that need no server and no network."""
