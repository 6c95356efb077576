"""Words and facts of the dialogues, few of each and short in tokens.

No word of WORDS is the answer of a fact, and no answer of a table is part of another: a check can tell them apart.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _table(text: str) -> dict[str, str]:
    """`question=answer` pairs separated by spaces; an underscore stands for a space."""
    return dict(pair.replace("_", " ").split("=") for pair in text.split())


LANGUAGES = ("en", "zh")

NAMES = {
    "en": words("Tom Ben Sam Ann Max Lily Jack Mia Eva Kate Mark Jim Tim Ada Kim Ray Dan Ian Roy Lucy Nick Ed"),
    "zh": words("小明 小红 小华 小丽 小刚 小军 小芳 小林 小强 小燕 小东 小云 李明 王芳 张华 刘洋 小雨 小月 陈静 赵强"),
}
WORDS = {
    "en": words("table window house door ship road star tree cup box map bell"),
    "zh": words("河流 石头 桌子 窗户 花园 音乐 夏天 铃铛 钥匙 地图 火车 星星"),
}

# Countries are in the same order in both languages.
CAPITALS = {
    "en": _table(
        "France=Paris Italy=Rome Spain=Madrid Germany=Berlin England=London Japan=Tokyo Norway=Oslo Egypt=Cairo "
        "Russia=Moscow China=Beijing Greece=Athens Peru=Lima Cuba=Havana Poland=Warsaw"
    ),
    "zh": _table(
        "法国=巴黎 意大利=罗马 西班牙=马德里 德国=柏林 英国=伦敦 日本=东京 挪威=奥斯陆 埃及=开罗 俄罗斯=莫斯科 "
        "中国=北京 希腊=雅典 秘鲁=利马 古巴=哈瓦那 波兰=华沙"
    ),
}
COLOURS = {
    "en": _table(
        "snow=white milk=white grass=green a_leaf=green a_frog=green blood=red a_tomato=red a_cherry=red coal=black "
        "a_crow=black the_sky=blue the_sea=blue a_lemon=yellow a_banana=yellow chocolate=brown"
    ),
    "zh": _table(
        "雪=白色 牛奶=白色 草=绿色 树叶=绿色 青蛙=绿色 血=红色 西红柿=红色 樱桃=红色 煤=黑色 乌鸦=黑色 天空=蓝色 "
        "大海=蓝色 柠檬=黄色 香蕉=黄色 巧克力=棕色"
    ),
}
OPPOSITES = {
    "en": _table(
        "hot=cold big=small up=down old=new long=short left=right high=low good=bad fast=slow wet=dry rich=poor "
        "open=closed first=last day=night"
    ),
    "zh": _table(
        "炎热=寒冷 高大=矮小 安全=危险 开始=结束 成功=失败 快乐=悲伤 黑暗=光明 简单=复杂 前进=后退 富有=贫穷 "
        "干净=肮脏 上升=下降 朋友=敌人 左边=右边"
    ),
}
PLURALS = _table(
    "child=children mouse=mice foot=feet tooth=teeth man=men woman=women goose=geese box=boxes city=cities "
    "leaf=leaves baby=babies knife=knives"
)
MEASURES = _table(
    "书=一本书 马=一匹马 鱼=一条鱼 车=一辆车 花=一朵花 纸=一张纸 树=一棵树 猫=一只猫 笔=一支笔 衣服=一件衣服 "
    "信=一封信 桥=一座桥"
)
GIFTS = {
    "en": words("cake book card tea pen lamp bag ball song milk"),
    "zh": words("蛋糕 书 卡片 茶 笔 台灯 书包 苹果 花 画"),
}
TASTES = {
    "en": words("cake tea milk books music fish"),
    "zh": words("蛋糕 茶 苹果 花 书 画"),
}
JOBS = {
    "en": words("cook teacher doctor painter singer nurse"),
    "zh": words("厨师 老师 医生 画家 歌手 护士"),
}
