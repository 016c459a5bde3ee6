"""The words of a prompt that the drawing of `sketch` understands, in English and Indonesian.

Words of origin are in no table, so they decide no skin, hair or features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

Phrase: TypeAlias = tuple[str, ...]
"""The words of a phrase, in lower case and without hyphens."""
Meaning: TypeAlias = Mapping[str, Any]
"""Values by the name of an attribute, or of a part of `PromptReading` that no attribute names."""


def _table(*rows: tuple[Meaning, str]) -> dict[Phrase, Meaning]:
    """Return the meaning of each phrase. A row has the meaning, and its phrases separated by commas."""
    return {
        tuple(re.split(r"[ -]", phrase.strip())): meaning
        for meaning, phrases in rows
        for phrase in phrases.split(",")
    }


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PEOPLE = _table(
    (
        {"gender": "female", "adult": True},
        "woman, women, female, lady, mother, mom, wife, sister, aunt, businesswoman, saleswoman, actress, "
        "waitress, queen, princess, bride, wanita, perempuan, cewek, ibu, bunda, istri, tante, putri, "
        "pengantin wanita, pengantin perempuan",
    ),
    (
        {"gender": "male", "adult": True},
        "man, men, male, guy, gentleman, father, dad, husband, brother, uncle, businessman, salesman, "
        "fisherman, policeman, king, prince, groom, pria, laki laki, lelaki, cowok, bapak, ayah, suami, "
        "paman, pengantin pria",
    ),
    ({"gender": "non_binary"}, "non binary, nonbinary, enby, nonbiner, non biner"),
    (
        {"gender": "female", "age_range": "child"},
        "girl, little girl, schoolgirl, anak perempuan, anak wanita, gadis kecil",
    ),
    (
        {"gender": "male", "age_range": "child"},
        "boy, little boy, schoolboy, anak laki laki, anak lelaki, anak cowok",
    ),
    ({"age_range": "child"}, "child, kid, toddler, baby, anak, anak anak, anak kecil, bocah, balita, bayi"),
    ({"gender": "female", "age_range": "teenager"}, "teenage girl, teen girl, remaja putri, anak gadis"),
    ({"gender": "male", "age_range": "teenager"}, "teenage boy, teen boy, remaja putra"),
    ({"age_range": "teenager"}, "teenager, teen, adolescent, remaja, abg"),
    ({"gender": "female", "age_range": "young_adult"}, "young lady, gadis, pemudi, mahasiswi"),
    ({"gender": "male", "age_range": "young_adult"}, "young gentleman, pemuda"),
    ({"age_range": "young_adult"}, "youngster, anak muda"),
    ({"gender": "female", "age_range": "senior"}, "grandmother, grandma, granny, old lady, nenek"),
    ({"gender": "male", "age_range": "senior"}, "grandfather, grandpa, kakek"),
    ({"age_range": "senior"}, "senior citizen, lansia, warga senior, manula"),
)
"""Nouns for people. The first one in a prompt is the person of the portrait."""

WORDS = _table(
    ({"age_range": "teenager"}, "teenage, teenaged"),
    ({"age_range": "young_adult"}, "young adult, dewasa muda"),
    ({"age_range": "middle_aged"}, "middle aged, paruh baya, setengah baya"),
    ({"age_range": "mature"}, "mature"),
    ({"age_range": "senior"}, "elderly, lanjut usia"),
    ({"body_type": "slim"}, "slim, slender, langsing, ramping, kurus"),
    ({"body_type": "athletic"}, "athletic, atletis"),
    ({"body_type": "muscular"}, "muscular, berotot, kekar"),
    ({"body_type": "curvy"}, "curvy, montok"),
    ({"body_type": "plus_size"}, "plus size, chubby, overweight, gemuk, gendut"),
    (
        {"hair_style": "bald"},
        "bald, bald headed, hairless, no hair, without hair, botak, gundul, plontos, tanpa rambut, "
        "tidak berambut",
    ),
    ({"hair_style": "buzz_cut"}, "buzz cut, buzzcut, crew cut, cepak"),
    # Not the first word of `Afro-American`, which is a word of origin.
    ({"hair_style": "afro"}, "an afro, kribo"),
    ({"hair_style": "braided"}, "braids, braided, pigtails, dikepang, kepang, berkepang"),
    ({"hair_style": "bun"}, "bun, hair bun, sanggul, disanggul, bersanggul, konde, cepol, dicepol"),
    ({"hair_style": "ponytail"}, "ponytail, kuncir kuda, ekor kuda, dikuncir, kuncir"),
    ({"hair_color": "blonde"}, "blonde, blond, pirang"),
    ({"hair_color": "dark_brown"}, "brunette"),
    ({"hair_color": "red"}, "redhead, redheaded"),
    ({"hair_color": "gray"}, "beruban, ubanan"),
    (
        {"style": "professional"},
        "professional, profesional, suit, blazer, business attire, jas, berjas",
    ),
    ({"style": "casual"}, "casual, t shirt, sweater, santai, kasual, kaos, kaus"),
    ({"style": "formal"}, "formal, tuxedo, tuksedo, resmi"),
    (
        {"style": "traditional"},
        "traditional, kebaya, batik, tradisional, berkebaya, berbatik, baju adat, pakaian adat",
    ),
    ({"style": "sporty"}, "sporty, sportswear, tracksuit, sportif, baju olahraga, pakaian olahraga"),
    ({"style": "creative"}, "creative, artistic, kreatif"),
    ({"style": "elegant"}, "elegant, gown, evening dress, elegan, anggun, gaun, bergaun"),
    ({"style": "streetwear"}, "streetwear, hoodie"),
    ({"headwear": "hijab"}, "hijab, hijabi, hijaber, jilbab, berhijab, berjilbab"),
    ({"headwear": "headscarf"}, "headscarf, head scarf, kerudung, berkerudung"),
    ({"headwear": "peci"}, "peci, kopiah, songkok, berpeci, berkopiah, bersongkok"),
    ({"headwear": "turban"}, "turban, sorban, serban, bersorban, berserban"),
    ({"headwear": "kippah"}, "kippah, yarmulke"),
    ({"headwear": "cap"}, "cap, baseball cap, topi, bertopi, topi bisbol"),
    ({"headwear": "beanie"}, "beanie, knit cap, kupluk, topi kupluk"),
    ({"headwear": "fedora"}, "fedora, hat, topi fedora"),
    ({"headwear": "sun_hat"}, "sun hat, straw hat, topi pantai, topi jerami, caping"),
    ({"headwear": ""}, "bareheaded, hatless"),
    (
        {"glasses": True},
        "glasses, eyeglasses, spectacles, sunglasses, bespectacled, kacamata, kaca mata, berkacamata, "
        "berkaca mata, kacamata hitam, kaca mata hitam",
    ),
    ({"earrings": True}, "earrings, earring, anting, anting anting, beranting, giwang"),
    (
        {"beard": "full"},
        "beard, bearded, full beard, janggut, jenggot, berjanggut, berjenggot, brewok, berewok, brewokan",
    ),
    ({"beard": "short"}, "stubble, goatee, short beard, janggut tipis, jenggot tipis, janggut pendek"),
    ({"beard": "moustache"}, "moustache, mustache, kumis, berkumis"),
    ({"beard": ""}, "clean shaven, beardless"),
)
"""Words and phrases that mean the same wherever they stand. An empty value leaves the part out."""

HAIR = _table(
    ({"hair_style": "short"}, "short, cropped, pendek"),
    ({"hair_style": "shoulder_length"}, "shoulder length, medium length, sebahu"),
    ({"hair_style": "long"}, "long, panjang"),
    ({"hair_style": "wavy"}, "wavy, bergelombang"),
    ({"hair_style": "curly"}, "curly, ikal, keriting"),
    ({"hair_style": "afro"}, "afro"),
    ({"hair_color": "black"}, "black, hitam"),
    ({"hair_color": "dark_brown"}, "dark brown, cokelat tua, coklat tua, cokelat gelap, coklat gelap"),
    ({"hair_color": "brown"}, "brown, cokelat, coklat"),
    ({"hair_color": "blonde"}, "blonde, blond, golden, pirang"),
    ({"hair_color": "red"}, "red, ginger, merah"),
    ({"hair_color": "gray"}, "gray, grey, abu abu, kelabu, beruban"),
    ({"hair_color": "white"}, "white, putih"),
)
EYES = _table(
    ({"eye_color": "brown"}, "brown, cokelat, coklat"),
    ({"eye_color": "dark_brown"}, "dark brown, dark, black, cokelat tua, coklat tua, gelap, hitam"),
    ({"eye_color": "hazel"}, "hazel"),
    ({"eye_color": "amber"}, "amber"),
    ({"eye_color": "green"}, "green, hijau"),
    ({"eye_color": "blue"}, "blue, biru"),
    ({"eye_color": "gray"}, "gray, grey, abu abu, kelabu"),
)
SKIN = _table(
    ({"skin_tone": "very_light"}, "very light, very fair, pale, pucat"),
    ({"skin_tone": "light"}, "light, fair, white, terang, cerah, putih, kuning langsat"),
    ({"skin_tone": "medium"}, "medium, sedang"),
    ({"skin_tone": "olive"}, "olive, zaitun"),
    ({"skin_tone": "tan"}, "tan, tanned, sawo matang"),
    ({"skin_tone": "brown"}, "brown, cokelat, coklat"),
    ({"skin_tone": "dark"}, "dark, black, gelap, hitam"),
)
PLACES: Mapping[str, tuple[Mapping[Phrase, Meaning], int]] = {
    **dict.fromkeys(("hair", "haired"), (HAIR, -1)),
    **dict.fromkeys(("rambut", "berambut", "rambutnya"), (HAIR, 1)),
    **dict.fromkeys(("eyes", "eye", "eyed"), (EYES, -1)),
    **dict.fromkeys(("mata", "bermata", "matanya"), (EYES, 1)),
    **dict.fromkeys(("skin", "skinned", "complexion"), (SKIN, -1)),
    **dict.fromkeys(("kulit", "berkulit", "kulitnya"), (SKIN, 1)),
}
"""Parts of a person, and the table of the words that describe them before (-1) or after (1)."""

OTHER_THINGS = frozenset(
    {
        ("glasses", "of"),
        ("wine", "glasses"),
        ("drinking", "glasses"),
        ("champagne", "glasses"),
        ("magnifying", "glasses"),
        ("bottle", "cap"),
        ("orang", "tua"),
        ("professional", "photo"),
        ("professional", "photograph"),
        ("professional", "photography"),
    }
)
"""Phrases with a word of the tables that mean something else."""

PRONOUNS = {"she": "female", "her": "female", "hers": "female", "he": "male", "his": "male", "him": "male"}
LIKELY_GENDER = {"hijab": "female", "headscarf": "female", "peci": "male"}
"""Gender of most people who wear it, unless the attributes or the prompt name a gender."""
YOUNG_AND_OLD = {
    "young": ("young_adult", 1),
    "old": ("senior", 1),
    "muda": ("young_adult", -1),
    "tua": ("senior", -1),
}
"""Words that describe a person only directly before (1) or after (-1): an old woman in an old library."""

NEGATIONS = _words(
    "no not never without neither lacks lacking minus sans remove cannot dont doesnt isnt "
    "tanpa tidak tak tdk nggak bukan jangan belum lepas"
)
ONLY = _words("only just merely hanya cuma sekadar")
"""Words that take back a negation: not only glasses."""
OR = _words("or atau maupun ataupun")
AND = _words("and dan serta")
VERBS = _words(
    "wear wears wearing has have having dressed memakai mengenakan pakai memiliki mempunyai punya berpakaian"
)
NEW_THOUGHTS = _words("but with who whose that while however instead tetapi tapi namun melainkan dengan yang")
"""Words that end the reach of a negation."""
FILLERS = _words(
    "a an the in on at of to from for is are was be it its this any some very both either as by portrait "
    "person people someone always usually ever seorang sebuah di ke dari pada untuk adalah ini itu "
    "sedang sangat para potret orang seseorang sosok juga"
) | (ONLY | OR | AND | VERBS | NEW_THOUGHTS | PRONOUNS.keys())
"""Words without a meaning of their own."""
