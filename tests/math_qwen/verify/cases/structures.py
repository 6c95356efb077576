"""Equations, regions, collections, matrices, ±, text and choices."""

# ruff: noqa: E501

T, F = True, False

EQUATIONS = [
    ("x=5", "5", T), ("5", "x=5", T), ("x=5", "x = 5", T), ("x=5", "5=x", T), ("x=5", "y=5", F), ("x=5", "6", F), ("y=2x+1", "2x+1", T), ("2x+1", "y=2x+1", T), ("y=2x+1", "y=1+2x", T),
    ("y=2x+1", "2x-y+1=0", T), ("y=2x+1", "y=2x", F), ("34x+45y-20z+100=0", "-34x-45y+20z-100=0", T), ("x^2/4+y^2/3=1", "3x^2+4y^2=12", T), ("x+y=1", "x+y=2", F), ("x+y=1", "2x+2y=2", T),
    ("x+y=1", "x-y=1", F), ("7 = 11a+c", "11a+c", F), ("a+3z=0", "0", F), ("f(x)=2x+1", "2x+1", T), ("f(x)=x^2", "f(t)=t^2", T), ("f(x)=2x", "g(x)=2x", F), ("|AB|=1", "1", T), ("A:B=1", "1", T),
    (r"\frac{NO}{BO}=\frac{1}{\sqrt{6}}", r"\frac{1}{\sqrt{6}}", T), (r"\angle ABC = 60^\circ", "60", T), ("x = 1/2 = 0.5", "0.5", T), (r"x \approx 11", "11", T), (r"\frac{\sqrt{3}}{3} \approx 0.577", r"\frac{\sqrt{3}}{3}", T),
    ("2+3=5", "5", T), ("Area = 12", "12", T), (r"\text{Area} = 12\text{ cm}^2", "12", T), ("x=2", "2x=4", T), ("x=2", "2x=5", F), ("x^2=4", "x=2", F), ("P(A)=2/3", "2/3", T), ("x=-3", "-3", T), ("x=-3", "3", F),
    ("x=5", "X=5", F), ("(x-1)^2+(y-2)^2=9", "(x-1)^2+(y-2)^2=3", F), ("(x-1)^2+(y-2)^2=9", "x^2+y^2-2x-4y-4=0", T), ("y=-x", "x+y=0", T), ("y'=2x", "y'=2x", T), ("a_n=2n+1", "2n+1", T),
    (r"x \equiv 3 \pmod 7", r"x \equiv 10 \pmod{7}", T), (r"x \equiv 3 \pmod 7", r"x \equiv 4 \pmod 7", F), (r"x \equiv 3 \pmod 7", r"x \equiv 3 \pmod 5", F), (r"3 \pmod 7", "3 (mod 7)", T),
    (r"\frac{dy}{dx}=2x", "2x", T), (r"\tan\theta = \frac34", "3/4", T),
]  # fmt: skip

REGIONS = [
    ("x>5", "x>5", T), ("x>5", "5<x", T), ("x>5", r"x \ge 5", F), ("x>5", "x<5", F), ("x>5", r"(5,\infty)", T), ("x>5", r"[5,\infty)", F), (r"x \geq 5", r"[5, \infty)", T), (r"x \ge 5", "x≥5", T),
    (r"-2 \le x \le 7", r"x \in [-2,7]", T), (r"-2 \le x \le 7", "[-2,7]", T), (r"-2 \le x \le 7", "(-2,7)", F), ("-2<x<7", "(-2,7)", T), ("(-2,7)", "-2<x<7", T), ("[1,2]", "(1,2)", F), ("[1,2)", "(1,2]", F),
    ("[1,2)", "[1,2)", T), ("(1,2)", "(2,1)", F), (r"(-\infty,-3]\cup[2,\infty)", r"x\le -3 \text{ or } x \ge 2", T), (r"(-\infty,-3]\cup[2,\infty)", r"[2,\infty)\cup(-\infty,-3]", T),
    (r"(-\infty,-3]\cup[2,\infty)", r"[-3,2]", F), (r"\{-1\}\cup[0,7)", r"[0,7)\cup\{-1\}", T), ("[1,2]∪[2,3]", "[1,3]", T), (r"\mathbb{R}", r"(-\infty,\infty)", T), (r"\mathbb{R}", "all real numbers", T),
    (r"\mathbb{R}\setminus\{3\}", r"(-\infty,3)\cup(3,\infty)", T), (r"x \neq 3", r"(-\infty,3)\cup(3,\infty)", T), (r"x \neq 3", "x=3", F), ("2x>10", "x>5", T), ("-x<-5", "x>5", T), ("-x<-5", "x<5", F),
    ("x>5", "y>5", F), (r"\{x \mid x>5\}", "x>5", T), (r"\{x \in \mathbb{R} : 1<x<2\}", "(1,2)", T), (r"\emptyset", r"\varnothing", T), (r"\emptyset", "no solution", T), (r"\emptyset", "0", F), (r"\emptyset", r"\{\}", T),
    ("x<1 or x>5", r"(-\infty,1)\cup(5,\infty)", T), ("x>1 and x<5", "(1,5)", T), (r"[\frac12, \infty)", "x>=0.5", T), (r"[0, 2\pi)", r"0 \le x < 2\pi", T), (r"(0,\sqrt2)", r"0<x<\sqrt{2}", T), ("k>2", "2<k", T),
    ("2x+y>3", "y>3-2x", T), ("2x+y>3", "y<3-2x", F), ("f(2)<f(1)<f(4)", "f(4)>f(1)>f(2)", T), ("a<b<c", "a<c<b", F), (r"(\frac{3}{5},\frac{8}{3}]", "(0.6,8/3]", T), ("[0,1]", r"\{0,1\}", F), ("x in (1,3)", "(1,3)", T),
]  # fmt: skip

COLLECTIONS = [
    (r"\{1,2,3\}", r"\{3,2,1\}", T), ("1,2,3", "3,2,1", T), ("1, 2", "1 and 2", T), ("1 or 2", "2, 1", T), (r"\{1,2\}", "1,2", T), (r"\{1,2\}", r"\{1,3\}", F), (r"\{1,2\}", r"\{1,2,3\}", F), (r"\{1,2,2\}", r"\{1,2\}", T),
    ("(1,2)", "(2,1)", F), ("(1,2)", "(1, 2)", T), ("(1,2)", r"\left(1,2\right)", T), ("(1,2)", r"\{1,2\}", F), ("(3,1)", "{1,3}", F), ("(1,2,3)", "(1,2)", F), ("(1, 0.5)", r"(1,\frac12)", T), ("x=1, x=2", "1,2", T),
    ("x=1 or x=2", r"\{1,2\}", T), ("x=1 or x=2", "x=2 or x=1", T), ("x=1 or x=2", "x=1", F), ("x=1", "x=1 or x=2", F), ("5", "5 or 6", F), ("5", "5, 6", F), ("5,6", "5", F), ("x=1, y=2", "y=2, x=1", T), ("x=1, y=2", "x=2, y=1", F),
    ("(1,2)", "x=1, y=2", T), ("(1,2)", "x=2, y=1", F), ("(x,y)=(1,2)", "(1,2)", T), ("x=1,y=2", "(1,2)", T), ("(5,8),(8,5)", "(8,5),(5,8)", T), ("(5,8),(8,5)", "(5,8)", F), ("n=1,2,3", "1,2,3", T), ("19, 46, and 82", "19, 46, 82", T),
    ("-12;-11;-10", r"\{-12,-11,-10\}", T), (r"\pm 3", "3, -3", T), (r"\pm 3", "3", F), (r"x=\pm 3", r"x=3 \text{ or } x=-3", T), (r"3\pm 2\sqrt2", r"3+2\sqrt2, 3-2\sqrt2", T), (r"\frac{-1\pm\sqrt{13}}{4}", r"\frac{-1+\sqrt{13}}{4},\frac{-1-\sqrt{13}}{4}", T),
    (r"\frac{-1\pm\sqrt{13}}{4}", r"\frac{1\pm\sqrt{13}}{4}", F), (r"\frac{1\pm\sqrt5}{2}", r"\frac{1\mp\sqrt5}{2}", T), (r"\{1\pm\sqrt5,-2\}", r"\{-2,1-\sqrt5,1+\sqrt5\}", T), (r"\pm i", "i, -i", T), ("x_1=1, x_2=2", "2, 1", T),
    (r"\langle 1,2\rangle", "(1,2)", T), ("1,234", "(1,234)", T), ("(1,234)", "(1, 234)", T), ("100, 200", "100,200", T), ("3:4", "6:8", T), ("3:4", "4:3", F), ("3:4", "3/4", T), ("1:2:3", "2:4:6", T), ("1:2:3", "3:2:1", F), ("A, B", "B, A", T),
    (r"6 \text{ and } 8", "6,8", T), ("6和8", "6,8", T), ("6或8", "8,6", T), ("{5}", "5", T), (r"x\in\{1,2\}", "1,2", T), ("a=3, b=4", "a=3,b=5", F), ("3 cm, 4 cm", "3, 4", T), ("3 cm, 4 cm", "3 m, 4 m", F), ("1, 1, 2", "1, 2", F),
]  # fmt: skip

MATRICES = [
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", T), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}", F),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left[\begin{array}{cc}1&2\\3&4\end{array}\right]", T), (r"\begin{pmatrix}1/2\\3\end{pmatrix}", r"\begin{pmatrix}0.5\\3\end{pmatrix}", T), (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)", T),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", F), (r"\begin{pmatrix}2&4\\6&8\end{pmatrix}", r"2\begin{pmatrix}1&2\\3&4\end{pmatrix}", T), (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2", T),
    (r"\begin{pmatrix}6&8\\10&12\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}+\begin{pmatrix}5&6\\7&8\end{pmatrix}", T), (r"\begin{pmatrix}-1\\2\end{pmatrix}", r"\begin{pmatrix}1\\-2\end{pmatrix}", F),
    (r"\begin{pmatrix}x+1&0\\0&1\end{pmatrix}", r"\begin{pmatrix}1+x&0\\0&1\end{pmatrix}", T), (r"\begin{pmatrix} 1 \\ 2 \\ 3 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", F),
    (r"\begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases}", r"\begin{cases} -x & x<0 \\ x & x\ge 0 \end{cases}", T), (r"\begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases}", r"\begin{cases} x & x\ge 0 \\ -x & \text{otherwise} \end{cases}", T),
    (r"\begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases}", r"\begin{cases} x & x>0 \\ -x & x\le 0 \end{cases}", F), (r"\begin{cases} 1, & \text{if } x>0 \\ 0, & \text{if } x \le 0 \end{cases}", r"\begin{cases} 0 & x\le 0 \\ 1 & x>0 \end{cases}", T),
    (r"\begin{cases} x=1 \\ y=2 \end{cases}", "x=1, y=2", T),
]  # fmt: skip

TEXT = [
    ("Evelyn", r"\text{Evelyn}", T), ("Evelyn", "evelyn", T), ("Evelyn", "Carla", F), ("odd", r"\text{odd}", T), ("odd", r"\text{oddd}", F), ("Even", "even", T), ("even", "odd", F), ("Yes", "yes", T), ("yes", "no", F), ("No", "Yes", F), ("True", "true", T),
    ("是", "yes", T), ("Monday", "Tuesday", F), ("Monday", "monday", T), ("the circle", "circle", T), ("a parabola", "parabola", T), ("parabola", "hyperbola", F), ("None", "0", F), ("undefined", "undefined", T), ("no", "on", F), ("not", "ton", F),
    ("right triangle", "a right triangle", T), ("奇数", "odd", T), ("无解", "no solution", T), ("does not exist", "DNE", T), ("Infinitely many", "infinitely many", T), ("3:30 pm", "3:30 PM", T), ("3:30 pm", "3:30 am", F), ("14:00", "3:00", F), ("blue", "the blue", T),
]  # fmt: skip

CHOICES = [
    ("C", "(C)", T), (r"\text{C}", r"\text{(C)}", T), ("C", "C. x = 42", T), ("C. x = 42", "C", T), ("C. x = 42", "D", F), ("A", "B", F), ("B", r"\textbf{(B)}", T), ("B", r"\boxed{B}", T), ("A", r"\boxed{\text{(A) } 5}", T), ("A and C", "AC", T), ("AC", "A, C", T),
    ("AC", "A, B", F), ("C", "thinking about it I think the correct answer is C", T), ("B", "It's not A because it doesn't make sense, therefore I think it's B", T), ("D", "The answer is for sure D, it can't be A or B", T), ("C", "C Cecile", T), ("C", "Alina and the answer is\n(C) Cecile", T),
    ("B", "B不是 A", T), ("A", "The answer is B", F), ("A", "The answer is not A", F), ("B", "故选B", T), ("B", "答案是B。", T), ("B", "答案：C", F), ("D", "So the answer is (D) 12.", T), ("D", "Option D", T), ("A", "The answer is (B).", F), ("5", "(B) 5", T), ("5", "(B) 6", F),
    ("C", r"The answer is $\boxed{\textbf{(C)}\ 5}$", T), ("C", r"$\boxed{D}$", F), ("A", "The correct option is A because of B", T), ("B", "所以选 B", T),
]  # fmt: skip

RESPONSES = [
    ("5", r"So we get \boxed{5}.", T), ("5", r"First \boxed{4}, then after correction \boxed{5}.", T), ("4", r"First \boxed{4}, then after correction \boxed{5}.", F), ("5", r"\boxed{}", F), ("5", "", F), ("5", "   ", F), ("5", r"\boxed{5} or \boxed{6}", F),
    ("5", "The answer is 5.", T), ("5", "The answer is 5 or 6.", F), ("5", "The answer is not 5.", F), ("6", "The answer is not 5, it is 6.", T), ("5", "the answer isn't 5", F), ("5", r"The answer is not \boxed{5}.", F), ("72", "She sold 48+24 = 72 clips.\n#### 72", T),
    ("72", "#### 72", T), ("72", "#### 71", F), ("1234", "blah\n#### 1,234", T), ("18", "Janet makes 9 * 2 = $18 every day.", T), ("18", "Janet makes 9 * 2 = $18 every day.\nFinal answer: 18", T), ("5", "Final Answer: The final answer is $5$. I hope it is correct.", T),
    ("2/3", "Therefore, the probability is 2/3.", T), ("42", "**Final Answer**\n\n42", T), ("42", "**Answer:** 42", T), ("42", "The answer is **42**.", T), ("42", "The answer is: 42", T), ("42", "答案是42。", T), ("42", "答案：42", T), ("42", "所以最终答案为 $42$。", T), ("42", "答案不是42。", F),
    ("4000", " 地块面积 = 72000 / 18 = 4000千克", T), ("13/28", "计划的比例为13/28", T), ("120", "Final Answer: The volume of $ABCDEFGH$ is 120.", T), ("5", "I think it is 4, no wait, 5", T), ("5", "x = 5", T), ("5", "The value of x is 5 because 2+3=5.", T), ("5", "<think>it may be 7</think>The answer is 5", T),
    ("5", "The answer is 6 <|im_end|>\n<|im_start|>user 5", F), ("10", r"\boxed{10} apples", T), ("28%", r"$\boxed{28}$ percent", T), ("189", r"\(\boxed{189}\) square centimeters", T), ("5 m", r"\boxed{5} cm", F), ("(7,6)", r"So the ordered pair $(x,y)$ that solves the system is $(7, 6)$.", T),
    (r"\frac{3}{56}", r"\[p(8) = \boxed{\frac{3}{56}}.\]", T), ("x^2+1", r"Thus $f(x) = \boxed{x^2+1}$.", T), ("5", "Answer: 5 apples", T), ("5", "no idea", F), ("5", "5 is not the answer.", F), ("42", "= 42", T), ("7", r"\boxed{\boxed{7}}", T), ("7", r"\boxed 7", T), ("0.75", "The probability is 3/4", T), ("12", r"$$\boxed{12}$$", T),
    ("9", "Answer \\( 9 \\)", T), ("1", "how many $? just about 1$", T), ("14916", "Final Answer: The smallest possible value of $N$ is $\\boxed{14{,}916}$. I hope it is correct.", T), ("220", "The answer is 220 dollars because 100 + 120 = 220.", T), ("3", "The final answer is 3. Check: 3*4=12.", T),
    ("1,2", r"\boxed{1} and \boxed{2}", T), ("1,2", r"\boxed{1, 2}", T), ("10", "The total is 10.", T), ("10", "She has 10 apples left.", T), ("-3", "Hence x = -3.", T), ("5", "the answer is 5!", T), ("1/2", "因此概率是二分之一。", T), ("25", "他一共有25个苹果。", T), ("5", "The answer: five", T),
    ("She sold 72.\n#### 72", "72", T), ("She sold 72.\n#### 72", "71", F), (r"So \boxed{\frac12}", "0.5", T), ("3", "There are 3 of them, not 4.", T),
]  # fmt: skip
