"""The names that the lexer knows."""

from __future__ import annotations

FUNCTIONS = frozenset(
    [
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "sinh",
        "cosh", "tanh", "coth", "sech", "csch", "arcsinh", "arccosh", "arctanh", "ln", "log", "lg", "exp", "abs",
        "gcd", "lcm", "max", "min", "floor", "ceil", "ceiling", "det", "cbrt", "Re", "Im", "arg", "sgn", "sign",
        "deg", "dim", "rank", "tr", "cis",
    ]
)  # fmt: skip
ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "tg": "tan", "ctg": "cot", "arctg": "arctan",
    "ceiling": "ceil", "sgn": "sign", "cosec": "csc", "sen": "sin",
}  # fmt: skip
CONSTANTS = {
    "pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo", "Infinity": "oo",
}  # fmt: skip
GREEK = frozenset(
    [
        "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota",
        "kappa", "lambda", "mu", "nu", "xi", "rho", "varrho", "sigma", "varsigma", "tau", "upsilon", "phi", "varphi",
        "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "Upsilon",
        "ell", "hbar", "nabla", "partial", "aleph", "imath", "jmath",
    ]
)  # fmt: skip
SKIPPED = frozenset(
    [
        "left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl",
        "Biggr", "quad", "qquad", "displaystyle", "textstyle", "limits", "nolimits", "boxed", "fbox", "mathstrut",
        "hline", "nonumber", "enspace", "thinspace", "negthinspace", "medspace", "allowbreak", "noindent",
        "centering", "cssId", "rm", "it", "bf", "scriptstyle", "large", "Large", "hfill", "strut", "smash",
        "ensuremath",
    ]
)  # fmt: skip
RELATIONS = {
    "=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "=<": "<=", "=>": "to", "!=": "!=", "<>": "!=",
    "/=": "!=", ":=": "=", "lt": "<", "gt": ">", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=",
    "geqslant": ">=", "leqq": "<=", "geqq": ">=", "ne": "!=", "neq": "!=", "approx": "~", "thickapprox": "~",
    "sim": "~", "simeq": "~", "approxeq": "~", "~=": "~", "doteq": "~", "in": "in", "notin": "notin",
    "subset": "subset", "subseteq": "subset", "supset": "supset", "supseteq": "supset", "equiv": "equiv",
    "cong": "cong", "propto": "propto", "to": "to", "rightarrow": "to", "Rightarrow": "to", "implies": "to",
    "longrightarrow": "to", "iff": "to", "mapsto": "to", "Leftrightarrow": "to", "parallel": "parallel",
    "perp": "perp", "->": "to", "coloneqq": "=", "nmid": "nmid",
}  # fmt: skip
OPERATORS = {
    "+": "+", "-": "-", "*": "*", "**": "^", "^": "^", "/": "/", "_": "_", "!": "!", "%": "%", "cdot": "*",
    "times": "*", "ast": "*", "div": "/", "pm": "pm", "mp": "mp", "cup": "cup", "bigcup": "cup", "cap": "cap",
    "bigcap": "cap", "setminus": "setminus", "backslash": "setminus", "degree": "deg", "circ": "circ", "mid": "mid",
    "colon": ":", ":": ":", "vee": "or", "lor": "or", "land": "and", "wedge": "and", "neg": "not", "lnot": "not",
    "+/-": "pm", "-/+": "mp", "bullet": "*", "prime": "'", "'": "'", "choose": "choose", "over": "over",
    "smallsetminus": "setminus", "percent": "%", "pct": "%", "percentage": "%",
}  # fmt: skip
TEXT = frozenset(
    [
        "text", "mbox", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mathrm", "mathit", "mathsf",
        "mathtt", "operatorname", "hbox", "emph", "textsc", "mathop", "mathnormal",
    ]
)  # fmt: skip
FONTS = frozenset(["mathbf", "mathcal", "mathfrak", "boldsymbol", "bm", "mathscr", "pmb"])
DECORATIONS = frozenset(
    [
        "overline", "bar", "vec", "hat", "widehat", "tilde", "widetilde", "dot", "ddot", "overrightarrow",
        "overleftrightarrow", "underline",
    ]
)  # fmt: skip
NAMED = {
    "R": "R", "Z": "Z", "N": "N", "Q": "Q", "C": "C", "reals": "R", "Reals": "R",
}  # fmt: skip
JOINING = {
    "and": "and", "or": "or", "和": "and", "或": "or", "或者": "or", "且": "and", "以及": "and", "与": "and",
    "及": "and", "&": "and", "and/or": "or",
}  # fmt: skip
PROSE = frozenset(
    [
        "so", "the", "is", "it", "of", "to", "in", "we", "not", "was", "are", "for", "by", "on", "at", "be", "as",
        "an", "has", "had", "he", "she", "if", "no", "yes", "you", "my", "our", "its", "let", "but", "get", "got",
        "can", "all", "any", "who", "how", "why", "see", "use", "his", "her", "out", "now", "then", "that", "this",
        "thus", "hence", "number", "answer", "which", "what", "were", "did", "does", "do", "may", "will", "than",
    ]
)  # fmt: skip
CURRENCY_CODES = frozenset(["USD", "EUR", "GBP", "CNY", "RMB", "JPY", "INR", "Rs", "RS"])
