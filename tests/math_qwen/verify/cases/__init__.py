"""(gold, prediction, whether a mathematician calls them the same), by kind."""
