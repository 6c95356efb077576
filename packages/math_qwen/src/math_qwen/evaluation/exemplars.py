"""Worked examples for few-shot prompts, in the form of each benchmark (question, answer).

They are this project's own; a published figure was measured with other examples of the same form and number.
"""

from __future__ import annotations

Exemplar = tuple[str, str]

# GSM8K's form: plain sentences, one calculation each.
WORDS: list[Exemplar] = [
    (
        "A bakery bakes 12 trays of 8 rolls. By noon 57 rolls are sold. How many rolls are left?",
        "12 trays with 8 rolls each are 12 * 8 = 96 rolls. After 57 are sold, 96 - 57 = 39 rolls are left. "
        "The answer is 39.",
    ),
    (
        "Mira saves 15 dollars a week. She wants a bicycle for 240 dollars and already has 90 dollars. How many weeks "
        "must she still save?",
        "She still needs 240 - 90 = 150 dollars. At 15 dollars a week that takes 150 / 15 = 10 weeks. "
        "The answer is 10.",
    ),
    (
        "A train has 6 carriages. Four of them have 48 seats and the others have 30 seats. How many seats are "
        "there in all?",
        "Four carriages have 4 * 48 = 192 seats. The other 6 - 4 = 2 carriages have 2 * 30 = 60 seats. Together "
        "that is 192 + 60 = 252 seats. The answer is 252.",
    ),
    (
        "A shirt costs 40 dollars. In a sale its price falls by 25%. How much do 3 shirts cost in the sale?",
        "The price falls by 40 * 25 / 100 = 10 dollars, to 40 - 10 = 30 dollars. Three shirts cost "
        "3 * 30 = 90 dollars. The answer is 90.",
    ),
    (
        "Omar reads 18 pages on Monday, twice as many on Tuesday, and 7 pages fewer on Wednesday than on Tuesday. How "
        "many pages does he read in the three days?",
        "On Tuesday he reads 2 * 18 = 36 pages. On Wednesday he reads 36 - 7 = 29 pages. In all he reads "
        "18 + 36 + 29 = 83 pages. The answer is 83.",
    ),
    (
        "A tank holds 500 liters. A pump fills in 35 liters a minute while 10 liters a minute leak out. How many "
        "minutes does it take to fill the empty tank?",
        "Each minute 35 - 10 = 25 liters stay in the tank. Filling it takes 500 / 25 = 20 minutes. The answer is 20.",
    ),
    (
        "Four friends share the cost of a tent equally and pay 33 dollars each. With one friend more, how much would "
        "each of them pay, in dollars?",
        "The tent costs 4 * 33 = 132 dollars. Five friends would pay 132 / 5 = 26.4 dollars each. The answer is 26.4.",
    ),
    (
        "Lena's garden is 14 meters long and 9 meters wide. A fence costs 5 dollars a meter. How much does a fence "
        "around the whole garden cost?",
        "Around the garden it is 2 * (14 + 9) = 46 meters. The fence costs 46 * 5 = 230 dollars. The answer is 230.",
    ),
]

# MATH's form: an argument, and the answer in a box.
BOXED: list[Exemplar] = [
    (
        r"Find the sum of all real solutions of $x^2 - 7x + 10 = 0$.",
        r"The left side factors as $(x-2)(x-5)$, so the solutions are $2$ and $5$. Their sum is $\boxed{7}$.",
    ),
    (
        r"A bag holds 3 red and 5 blue balls. Two balls are drawn without putting any back. What is the probability "
        r"that both are red?",
        r"There are $\binom{8}{2} = 28$ ways to draw two balls and $\binom{3}{2} = 3$ ways to draw two red ones. The "
        r"probability is $\boxed{\frac{3}{28}}$.",
    ),
    (
        r"The legs of a right triangle have lengths $6$ and $3$. What is the length of the hypotenuse, in simplest "
        r"radical form?",
        r"By the Pythagorean theorem it is $\sqrt{6^2 + 3^2} = \sqrt{45} = \boxed{3\sqrt{5}}$.",
    ),
    (
        r"If $f(x) = 2x + 3$ and $g(x) = x^2 - 1$, find $g(f(x))$ as a polynomial.",
        r"We have $g(f(x)) = (2x+3)^2 - 1 = 4x^2 + 12x + 9 - 1 = \boxed{4x^2 + 12x + 8}$.",
    ),
]

# Math401's form: an expression and its value.
ARITHMETIC: list[Exemplar] = [
    ("7+8=", "15"),
    ("-12-(-5)=", "-7"),
    ("3.2*0.5=", "1.6"),
    ("25/8=", "3.125"),
]

# Math23K's form: Chinese, the answer at the end.
CHINESE: list[Exemplar] = [
    (
        "果园里有苹果树45棵，梨树比苹果树少9棵，两种树一共有多少棵？",
        "梨树有45-9=36棵。两种树一共有45+36=81棵。答案是81。",
    ),
    (
        "一辆汽车3小时行驶210千米，照这样的速度，行驶490千米需要多少小时？",
        "汽车每小时行驶210/3=70千米。行驶490千米需要490/70=7小时。答案是7。",
    ),
    (
        "一本书共240页，小红第一天看了全书的1/4，还剩多少页没有看？",
        "第一天看了240*1/4=60页。还剩240-60=180页。答案是180。",
    ),
    (
        "学校买来8盒铅笔，每盒12支，平均分给6个班，每个班分到多少支？",
        "一共有8*12=96支铅笔。每个班分到96/6=16支。答案是16。",
    ),
]
