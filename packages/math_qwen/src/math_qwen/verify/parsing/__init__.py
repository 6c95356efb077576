"""From the text of one answer to a tree (`trees`): normalise, lexer, parser. Nothing is computed or evaluated here."""
