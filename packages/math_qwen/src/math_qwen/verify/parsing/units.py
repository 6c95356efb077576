"""Units and currencies: which words mean the same one.

A unit is a sorted tuple of (canonical name, power). Units are compared by name, never converted: 1 m is not 100 cm.
"""

from __future__ import annotations

import re

Unit = tuple[tuple[str, int], ...]

_NAMES = {
    "m": "meter meters metre metres 米 公尺", "cm": "centimeter centimeters centimetre centimetres cms 厘米 公分",
    "mm": "millimeter millimeters millimetre millimetres 毫米",
    "dm": "decimeter decimeters decimetre decimetres 分米",
    "km": "kilometer kilometers kilometre kilometres kms 千米 公里", "ft": "foot feet 英尺", "inch": "in inches 英寸",
    "yd": "yard yards yds 码", "mile": "mi miles 英里", "um": "micrometer micrometers micron microns 微米",
    "nm": "nanometer nanometers 纳米", "g": "gram grams gm 克", "kg": "kilogram kilograms kgs kilo kilos 千克 公斤",
    "mg": "milligram milligrams 毫克", "t": "ton tons tonne tonnes 吨", "lb": "lbs pound-weight 磅",
    "oz": "ounce ounces 盎司", "L": "liter liters litre litres l 升",
    "mL": "ml milliliter milliliters millilitre millilitres 毫升", "gallon": "gal gallons 加仑", "quart": "quarts qt",
    "pint": "pints", "cup": "cups", "s": "sec secs second seconds 秒 秒钟", "min": "mins minute minutes 分钟",
    "h": "hr hrs hour hours 小时 个小时", "day": "days 天 日", "week": "weeks 周 星期", "month": "months 月 个月",
    "year": "years yr yrs 年 岁", "dollar": "dollars usd us$ bucks 美元", "cent": "cents 美分",
    "yuan": "rmb cny 元 人民币 块 块钱 ¥ 元钱", "jiao": "角 毛", "euro": "euros eur € 欧元", "gbp": "£ 英镑",
    "pound": "pounds", "rupee": "rupees rs inr ₹", "yen": "jpy 日元", "degree": "degrees deg 度",
    "radian": "radians rad 弧度", "degc": "celsius °c 摄氏度", "degf": "fahrenheit °f 华氏度", "kelvin": "k kelvins",
    "N": "newton newtons 牛 牛顿", "J": "joule joules 焦 焦耳", "kJ": "kj kilojoule kilojoules 千焦",
    "W": "watt watts 瓦 瓦特", "kW": "kw kilowatt kilowatts 千瓦", "V": "volt volts 伏 伏特",
    "A": "ampere amperes amp amps 安 安培", "ohm": "ohms 欧 欧姆", "Hz": "hz hertz 赫兹",
    "Pa": "pa pascal pascals 帕", "C": "coulomb coulombs", "mol": "mole moles 摩尔", "eV": "ev",
    "cal": "calorie calories", "acre": "acres 英亩", "hectare": "hectares ha 公顷", "mu": "亩",
    "person": "people persons 人 名 位", "student": "students 学生", "apple": "apples 苹果", "time": "times 次 倍",
    "unit": "units 单位 个单位 个 只 本 支 条 张 件 辆 "
    "棵 页 种 头 匹 台 间 朵 根 颗 粒 块儿 把 枝 盒 箱 袋 瓶 "
    "组 份 套 架 对 双 排 行 段",
}  # fmt: skip
_CANONICAL: dict[str, str] = {}
for _name, _others in _NAMES.items():
    _CANONICAL[_name] = _name
    for _other in _others.split():
        _CANONICAL.setdefault(_other, _name)
_COMPOUND = {
    "mph": (("h", -1), ("mile", 1)), "kph": (("h", -1), ("km", 1)), "kmh": (("h", -1), ("km", 1)),
    "mpg": (("gallon", -1), ("mile", 1)), "kmph": (("h", -1), ("km", 1)), "平方": (), "立方": (),
    "公顷": (("hectare", 1),),
}  # fmt: skip
_COUNTED_ON = frozenset(
    [("year", "month"), ("week", "day"), ("day", "h"), ("h", "min"), ("min", "s"), ("yd", "ft"), ("ft", "inch"),
     ("lb", "oz"), ("pound", "oz"), ("km", "m"), ("m", "cm"), ("cm", "mm"), ("m", "dm"), ("dm", "cm"), ("kg", "g"),
     ("t", "kg"), ("dollar", "cent"), ("yuan", "jiao")]
)  # fmt: skip
_SINGLE = frozenset(["m", "g", "s", "h", "L", "l", "t", "N", "J", "W", "V", "K"])
_FILLER = frozenset(
    [
        "of", "the", "a", "an", "in", "old", "each", "total", "altogether", "left", "more", "per's", "long", "tall",
        "wide", "high", "deep", "away", "worth", "is", "are", "was", "were", "there", "that", "which", "we", "he",
        "she", "it", "they", "and", "to", "be", "by", "on", "for", "his", "her", "their", "its", "all", "now", "then",
        "only", "remaining", "in-total", "later", "ago", "than", "so", "old.", "about", "approximately", "的", "了",
        "多", "左右", "一共", "共", "大约", "约",
    ]
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+\$?|[€£¥₹$]|[\u4e00-\u9fff]+|\^\s*\{?\s*-?\d+\s*\}?|/|\\degree|\*|-")
_POWERS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3, "cu": 3}
_CJK = re.compile(r"[\u4e00-\u9fff]")


def is_unit_word(word: str) -> bool:
    return word in _CANONICAL or word.lower() in _CANONICAL or word.lower() in _COMPOUND or word.lower() in _POWERS


def is_unit_letter(letter: str) -> bool:
    return letter in _SINGLE


def unit_of(words: str) -> Unit:
    """One form for `square centimeters`, `cm^2`; unknown words name themselves."""
    powers: dict[str, int] = {}
    sign, pending, last = 1, 0, ""
    for match in _WORD.finditer(words[:200]):
        word = match[0]
        if word[0] == "^":
            if last:
                powers[last] += (1 if powers[last] > 0 else -1) * (int(re.sub(r"[^\d-]", "", word)[:2] or 1) - 1)
            continue
        if word in ("/", "per") or word.lower() == "per":
            sign = -1
            continue
        if word in ("*", "-"):
            continue
        if _CJK.match(word):
            for name, power in _chinese(word):
                powers[name] = powers.get(name, 0) + power * sign
                last = name
            continue
        if word == "\\degree":
            word = "degree"
        lower = word.lower()
        if lower in _POWERS:
            if lower in ("squared", "cubed") and last:
                powers[last] *= _POWERS[lower]
            else:
                pending = _POWERS[lower]
            continue
        if lower in _FILLER and words.strip() != "in":
            continue
        if lower in _COMPOUND:
            for name, power in _COMPOUND[lower]:
                powers[name] = powers.get(name, 0) + power * sign
            continue
        if last == "degree" and lower in ("c", "f", "celsius", "fahrenheit"):
            del powers["degree"]
            word = "celsius" if lower[0] == "c" else "fahrenheit"
        name = _CANONICAL.get(word) or _CANONICAL.get(word.lower()) or _stem(word.lower())
        if word == "$":
            name = "dollar"
        powers[name] = powers.get(name, 0) + sign * (pending or 1)
        pending, last = 0, name
        sign = 1 if sign == -1 and not _continues(words, match.end()) else sign
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def conflict(a: Unit, b: Unit) -> bool:
    """No unit and `units` agree with any unit, and a longer name with a shorter one."""
    if a == b or not a or not b:
        return False
    if ("pound", 1) in (*a, *b):  # of weight, or of money
        a, b = (tuple(("pound", p) if n in ("lb", "gbp") else (n, p) for n, p in unit) for unit in (a, b))
        if a == b:
            return False
    if any(name == "unit" for name, _ in (*a, *b)):
        sizes = [sum(power for _, power in unit) for unit in (a, b)]
        if sizes[0] != sizes[1] and (("unit", 1) not in (*a, *b) or all(unit[0][0] == "unit" for unit in (a, b))):
            return True  # square units are no units
        a_rest, b_rest = ({pair for pair in unit if pair[0] != "unit"} for unit in (a, b))
        if a_rest and b_rest:
            return not (a_rest <= b_rest or b_rest <= a_rest)
        return False
    mine, yours = set(a), set(b)
    return not (mine <= yours or yours <= mine) or any(n in _NAMES for n, _ in mine ^ yours)


def counts_on(larger: str, smaller: str) -> bool:
    """`5 feet 6 inches` is one quantity."""
    first, second = unit_of(larger), unit_of(smaller)
    return len(first) == len(second) == 1 and (first[0][0], second[0][0]) in _COUNTED_ON


def show(unit: Unit) -> str:
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in unit)


def _chinese(run: str) -> list[tuple[str, int]]:
    """Longest known word first: 平方厘米, 千米每小时, 个苹果."""
    found: list[tuple[str, int]] = []
    power, sign, place, unknown = 1, 1, 0, ""
    while place < len(run):
        if run.startswith(("平方", "立方"), place):
            power, place = (2 if run[place] == "平" else 3), place + 2
            continue
        if run[place] in "每/":
            sign, place = -1, place + 1
            continue
        for length in (4, 3, 2, 1):
            word = run[place : place + length]
            if len(word) == length and word in _CANONICAL:
                found.append((_CANONICAL[word], power * sign))
                power, place = 1, place + length
                break
        else:
            if run[place] not in "的了多共约钱":
                unknown += run[place]
            place += 1
    if unknown:
        found.append((unknown, 1))
    return found


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _continues(words: str, end: int) -> bool:
    return words[end : end + 1] == "^"
