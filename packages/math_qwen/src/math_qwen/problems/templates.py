"""Families of problems in English and Chinese, and the operation of each phrasing.

`{a}` and `{b}` are the operands, `{c}` the number of a second step; `{A}` and `{B}` people, `{o}` things, `{m}` their
Chinese measure word, `{t}` and `{u}` things to buy, `{x}` an unknown. Except in equations, operands stand in the
operation's order: finding the numbers is the last thing a small model learns.
"""

from __future__ import annotations

from dataclasses import dataclass


def _words(text: str) -> list[str]:
    return text.split()


NAMES = {
    "en": _words("Tom Amy Ben Sam Ann Max Lily Jack Anna Leo Mia Eva Dan Kate Paul Rosa Alan Nina Adam Emma Mark Sara"),
    "zh": _words("小明 小红 小华 小丽 小刚 小军 小芳 小林 小强 小燕 小东 小云 李明 王芳 张华 刘洋 陈静 赵强"),
}
OBJECTS = {  # with the measure word
    "en": dict.fromkeys(
        _words(
            "apples books pens cards stamps coins balls eggs shells beads cups toys nuts keys stones pears flowers "
            "stars tickets pictures letters"
        ),
        "",
    ),
    "zh": dict.fromkeys(_words("苹果 球 鸡蛋 橘子 气球 杯子 玩具 桃子 梨"), "个")
    | dict.fromkeys(_words("铅笔 钢笔"), "支")
    | dict.fromkeys(_words("书 本子"), "本")
    | dict.fromkeys(_words("卡片 邮票 画"), "张")
    | dict.fromkeys(_words("糖 珠子"), "颗")
    | dict.fromkeys(_words("饼干 石头"), "块")
    | {"花": "朵"},
}
GOODS = {
    "en": _words("book pen cup hat ball cake bag map toy lamp"),
    "zh": _words("杯子 球 蛋糕 书包 面包 台灯 玩具 盘子 闹钟 花瓶"),
}
UNKNOWNS = "xynmtzabk"


@dataclass(frozen=True)
class Template:
    """One phrasing. `signs`: one, or two on level 3; the second applies to the first result and c, `r-` is c minus the
    result.
    """

    family: str
    signs: tuple[str, ...]
    language: str
    text: str


def _templates(family: str, signs: str, en: list[str], zh: list[str]) -> list[Template]:
    split = tuple(signs.split())
    return [Template(family, split, language, text) for language, texts in (("en", en), ("zh", zh)) for text in texts]


ONE_STEP: list[Template] = [
    *_templates(
        "gain",
        "+",
        [
            "{A} has {a} {o} and gets {b} more. How many {o} does {A} have now?",
            "{A} had {a} {o}. Then {A} found {b} more. How many {o} now?",
            "There were {a} {o} in a bag. {A} put in {b} more. How many are there?",
            "{A} had {a} {o} and bought {b} more. How many {o} does {A} have?",
        ],
        [
            "{A}有{a}{m}{o}，又得到{b}{m}。现在有多少{m}{o}？",
            "盒子里有{a}{m}{o}，{A}又放进{b}{m}。一共有多少{m}？",
            "{A}原来有{a}{m}{o}，又买了{b}{m}，现在有几{m}？",
        ],
    ),
    *_templates(
        "total",
        "+",
        [
            "{A} has {a} {o} and {B} has {b}. How many do they have together?",
            "{A} found {a} {o}. {B} found {b}. How many {o} in all?",
            "There are {a} {o} on the table and {b} in the box. How many in all?",
        ],
        [
            "{A}有{a}{m}{o}，{B}有{b}{m}。两人一共有多少{m}{o}？",
            "{A}找到{a}{m}{o}，{B}找到{b}{m}。他们共找到几{m}？",
            "桌上有{a}{m}{o}，地上有{b}{m}。合起来有多少{m}？",
        ],
    ),
    *_templates(
        "remainder",
        "-",
        [
            "{A} had {a} {o} and gave away {b}. How many are left?",
            "{A} had {a} {o} and lost {b}. How many {o} are left?",
            "There are {a} {o}. {A} takes {b}. How many {o} are left?",
            "{A} had {a} {o} and used {b}. How many {o} does {A} still have?",
        ],
        [
            "{A}有{a}{m}{o}，送给{B}{b}{m}。还剩多少{m}？",
            "盒子里有{a}{m}{o}，{A}拿走{b}{m}。还剩几{m}{o}？",
            "{A}有{a}{m}{o}，用了{b}{m}，还有多少{m}{o}？",
        ],
    ),
    *_templates(
        "comparison",
        "-",
        [
            "{A} has {a} {o}. {B} has {b}. How many more does {A} have?",
            "{A} has {a} {o}, {b} more than {B}. How many does {B} have?",
            "{A} found {a} {o} and {B} found {b}. How many fewer did {B} find?",
        ],
        [
            "{A}有{a}{m}{o}，{B}有{b}{m}。{A}比{B}多几{m}？",
            "{A}有{a}{m}{o}，比{B}多{b}{m}。{B}有几{m}？",
        ],
    ),
    *_templates(
        "groups",
        "*",
        [
            "There are {a} bags with {b} {o} each. How many {o} in all?",
            "{A} has {a} boxes of {b} {o}. How many {o} does {A} have?",
            "{A} reads {a} pages a day. How many pages in {b} days?",
            "{a} children have {b} {o} each. How many {o} are there?",
        ],
        [
            "有{a}个盒子，每盒{b}{m}{o}。一共有多少{m}{o}？",
            "{A}每天收{a}{m}{o}，{b}天收多少{m}？",
            "{a}个小朋友，每人{b}{m}{o}，共有几{m}{o}？",
        ],
    ),
    *_templates(
        "sharing",
        "/",
        [
            "{A} shares {a} {o} equally among {b} friends. How many does each get?",
            "{a} {o} are put into {b} equal bags. How many in each bag?",
            "{A} packs {a} {o}, {b} in a box. How many boxes are there?",
        ],
        [
            "{A}把{a}{m}{o}平均分给{b}人。每人得几{m}？",
            "{a}{m}{o}平均放进{b}个盒子，每盒几{m}？",
            "有{a}{m}{o}，每袋装{b}{m}，能装几袋？",
        ],
    ),
    *_templates(
        "money",
        "-",
        [
            "{A} has ${a} and spends ${b} on a {t}. How much is left?",
            "{A} pays ${a} for a {t} that costs ${b}. How much change is there?",
        ],
        ["{A}有{a}元，买{t}用了{b}元。还剩多少元？", "{A}付了{a}元，{t}{b}元，应找回几元？"],
    ),
    *_templates(
        "money",
        "+",
        ["A {t} costs ${a} and a {u} costs ${b}. How much are both?"],
        ["一个{t}{a}元，一个{u}{b}元。买这两样要多少元？"],
    ),
    *_templates(
        "money",
        "*",
        ["A {t} costs ${a}. How much does {A} pay for {b}?"],
        ["一个{t}{a}元，{A}买{b}个要多少元？"],
    ),
    *_templates(
        "age",
        "+",
        [
            "{A} is {a} years old. {B} is {b} years older. How old is {B}?",
            "{A} is {a} years old. How old is {A} in {b} years?",
        ],
        ["{A}今年{a}岁，{B}比{A}大{b}岁。{B}几岁？", "{A}今年{a}岁，{b}年后几岁？"],
    ),
    *_templates(
        "age",
        "-",
        [
            "{A} is {a} years old. {B} is {b} years younger. How old is {B}?",
            "{A} is {a} years old. How old was {A} {b} years ago?",
        ],
        ["{A}今年{a}岁，{B}比{A}小{b}岁。{B}几岁？", "{A}今年{a}岁，{b}年前几岁？"],
    ),
    *_templates(
        "equation_sum",
        "-",
        ["Solve {x} + {b} = {a}.", "{a} = {x} + {b}. What is {x}?"],
        ["解方程：{x} + {b} = {a}", "{a} = {x} + {b}，求{x}。"],
    ),
    *_templates(
        "equation_sum",
        "+",
        ["Solve {x} - {a} = {b}.", "{x} - {a} = {b}. What is {x}?"],
        ["解方程：{x} - {a} = {b}", "{x} - {a} = {b}，求{x}。"],
    ),
    *_templates(
        "equation_product",
        "/",
        ["Solve {b}{x} = {a}.", "{a} = {b}{x}. What is {x}?"],
        ["解方程：{b}{x} = {a}", "{a} = {b}{x}，求{x}。"],
    ),
    *_templates(
        "equation_product",
        "*",
        ["Solve {x} / {a} = {b}.", "{x} / {a} = {b}. What is {x}?"],
        ["解方程：{x} ÷ {a} = {b}", "{x} ÷ {a} = {b}，求{x}。"],
    ),
    *_templates(
        "calculation",
        "+",
        ["{a} + {b} = ?", "{A} adds {a} and {b}. What is the sum?"],
        ["计算 {a} + {b}", "{A}算{a}加{b}，等于几？"],
    ),
    *_templates(
        "calculation",
        "-",
        ["{a} - {b} = ?", "{A} has {a} and takes away {b}. What is left?"],
        ["计算 {a} - {b}", "{A}算{a}减{b}，等于几？"],
    ),
    *_templates(
        "calculation",
        "*",
        ["{a} * {b} = ?", "{A} needs {a} times {b}. What is it?"],
        ["计算 {a} × {b}", "{A}算{a}乘{b}，等于几？"],
    ),
    *_templates(
        "calculation",
        "/",
        ["{a} / {b} = ?", "{A} divides {a} by {b}. What is it?"],
        ["计算 {a} ÷ {b}", "{A}算{a}除以{b}，等于几？"],
    ),
]

TWO_STEP: list[Template] = [
    *_templates(
        "gain_then_loss",
        "+ -",
        [
            "{A} has {a} {o}, gets {b} more and gives away {c}. How many are left?",
            "{A} has {a} {o} and {B} has {b}. They sell {c}. How many are left?",
        ],
        ["{A}有{a}{m}{o}，又买了{b}{m}，送出{c}{m}。还剩多少{m}？"],
    ),
    *_templates(
        "loss_then_gain",
        "- +",
        ["{A} had {a} {o}, lost {b} and then found {c}. How many {o} now?"],
        ["{A}有{a}{m}{o}，用了{b}{m}，又买了{c}{m}。现在有几{m}？"],
    ),
    *_templates(
        "groups_and_more",
        "* +",
        ["{A} has {a} boxes of {b} {o} and {c} more. How many {o} in all?"],
        ["{A}有{a}盒{o}，每盒{b}{m}，另外还有{c}{m}。一共几{m}？"],
    ),
    *_templates(
        "groups_then_loss",
        "* -",
        ["{A} has {a} bags of {b} {o} and uses {c}. How many {o} are left?"],
        ["{A}有{a}袋{o}，每袋{b}{m}，用了{c}{m}。还剩几{m}？"],
    ),
    *_templates(
        "share_the_rest",
        "- /",
        ["{A} has {a} {o}, keeps {b} and shares the rest among {c} friends. How many does each get?"],
        ["{A}有{a}{m}{o}，留下{b}{m}，其余平均分给{c}人。每人几{m}？"],
    ),
    *_templates(
        "share_the_sum",
        "+ /",
        ["{A} has {a} {o} and {B} has {b}. They put all into {c} equal bags. How many in each?"],
        ["{A}有{a}{m}{o}，{B}有{b}{m}，平均放进{c}个盒子。每盒几{m}？"],
    ),
    *_templates(
        "change",
        "* r-",
        ["{A} buys {a} {t}s at ${b} each and pays ${c}. How much change is there?"],
        ["{A}买{a}个{t}，每个{b}元，付了{c}元。应找回几元？"],
    ),
    *_templates(
        "equation_two_step",
        "- /",
        ["Solve {c}{x} + {b} = {a}.", "{c}{x} + {b} = {a}. What is {x}?"],
        ["解方程：{c}{x} + {b} = {a}"],
    ),
    *_templates(
        "equation_two_step",
        "+ /",
        ["Solve {c}{x} - {b} = {a}.", "{c}{x} - {b} = {a}. What is {x}?"],
        ["解方程：{c}{x} - {b} = {a}"],
    ),
]
