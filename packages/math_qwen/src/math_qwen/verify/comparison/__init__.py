"""Whether two trees are the same answer: `rules` by kind of answer, `values` for expressions."""
