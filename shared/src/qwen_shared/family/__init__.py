"""`qwen-family`: the packages' commands one after another, as a short YAML says."""
