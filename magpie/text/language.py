"""The language of a short text, by its letters and its commonest words.

Belongs here: telling apart the languages of the catalogue without a model, and the codes of languages. Does not belong
here: which language a meme counts as (the products).

Letters decide the script, and within a script some letters belong to one language alone. Where they do not decide,
words do: each language has a list of words that stand in almost every text of it and in few of another. A text that
fits several equally well, or none, has no language here: a wrong one hides a meme from those who could read it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

# A word that one language alone has counts 1, one of two languages 1/2. One and a half is seldom chance; in a text of
# a few words 1 has to do, but a single word is a name or a borrowing as often as not.
ENOUGH, ENOUGH_IN_SHORT, SHORT_WORDS = 1.5, 1.0, range(2, 6)
# What two languages share is in both, so the best must be well ahead of the next.
AHEAD = 1.5
# Letters of one language alone count as so many words.
LETTER_WEIGHT = 2.0
# More says nothing more.
MOST_CHARS = 5000

_CODES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee "
    "el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io "
    "is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn "
    "mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se "
    "sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo "
    "wa wo xh yi yo za zh zu"
)
ISO_639_1 = frozenset(_CODES.split())
# The one regional code that the catalogue keeps apart.
BRAZIL = "pt-br"

_SCRIPTS = {"CYRILLIC", "LATIN", "ARABIC", "DEVANAGARI", "ETHIOPIC"}

# Letters that no other language of the same script in the catalogue has.
_LETTERS: Mapping[str, Mapping[str, str]] = {
    "CYRILLIC": {"ru": "ыэё", "uk": "іїєґ", "uz": "ўқғҳ"},
    "LATIN": {"es": "ñ¿¡", "de": "ßäöü", "pl": "ąęłńśźż", "fr": "çèêëœùû", BRAZIL: "ãõ", "uz": "ʻ"},
    "ARABIC": {"fa": "پچژگکی", "ar": "ةىيكأإ"},
    "DEVANAGARI": {},
    "ETHIOPIC": {},
}
# Letters of languages that are none of the catalogue: a text that has them is of none.
_FOREIGN: Mapping[str, str] = {
    "CYRILLIC": "әңүұөһңүјљњћђџѓќѕ",
    "LATIN": "øåőűřěůžčšđțșğışıėįųūāēīļņðþ",
    "ARABIC": "ٹڈڑےںہھ",
    "DEVANAGARI": "ळ",
    "ETHIOPIC": "",
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "CYRILLIC": {
        "ru": "и в не на что я он она с как это а по но мы ты вы к у из за так все всё от же его только мне было вот "
        "когда даже если уже или нет быть был до для меня тебя ещё еще бы мой кто где там потом себя ничего без может "
        "они тут через эти почему сегодня просто опять после под при чтобы хочу надо "
        "про сразу пришёл пришла пришел сейчас теперь сегодня завтра вчера день дома работа работу один одна раз если "
        "больше меньше хорошо очень такой такая какой какая кто-то никто будет будешь знаю знаешь думаю говорит",
        "uk": "і й та не на що я він вона з як це а по але ми ти ви до у в із за так все від його тільки мені було "
        "коли навіть якщо вже або ні бути був для мене тебе ще б мій хто де там потім себе нічого без може вони тут "
        "через ці чому сьогодні просто знову після під при щоб хочу треба "
        "про одразу прийшов прийшла зараз тепер завтра вчора день вдома робота роботу один одна раз більше менше добре "
        "дуже такий така який яка хтось ніхто буде будеш знаю знаєш думаю каже",
        "uz": "ва бу у мен сен биз сиз учун билан эмас ҳам лекин нима қандай бор йўқ деб керак "
        "мана бугун эртага менинг чунки кейин жуда яна ҳеч энди",
    },
    "LATIN": {
        "en": "the of and to in is you that it he was for on are as with his they i at be this have from or had by but "
        "not what all were we when your can said there an each she which do how their if will up other about out many "
        "then them these so some her would make like him into has my me just dont don't i'm it's why get got who its "
        "after before every never always no yes been am did does our than only still even because that's you're "
        "now while goes going day today people think know want need one time way good really first last too off over "
        "nobody everyone someone something nothing again until since without thing things could more most much",
        "es": "de la que el en y a los del se las por un para con no una su al lo como más mas pero sus le ya o este "
        "sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno "
        "les ni contra otros ese eso ante ellos e esto mí antes algunos qué unos yo otro tanto esa estos mucho es "
        "está estoy soy eres tú tu mi te hoy si son fue siempre nunca "
        "así mis tus ahora mientras voy va vas hace hacer tengo tiene quiero puede alguien nadie nada después aquí ese "
        "otra vez día casa gato perro mejor peor bien días noche amigo amigos",
        "pl": "w i na z się nie do to jest że o jak a po co tak za od ale ja ty on ona my wy mam masz jestem dla ten "
        "ta te tego już czy tylko gdy kiedy bo przez był była było być może jeszcze mnie mi ci go ich jego jej nas "
        "was nic wszystko zawsze nigdy sobie przed pod bez dzisiaj dziś "
        "moje moja mój twoje twój ciebie kiedyś teraz potem jutro wczoraj dzień dnia tam tutaj dlaczego ktoś nikt "
        "można trzeba chcę wiem każdy ludzie bardzo dobrze rano znowu",
        "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
        "er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor "
        "zur bis mehr durch man sein wurde wenn ich du wir ihr mein dein mich dich mir dir kein keine immer heute "
        "schon was warum bin bist "
        "so mein meine dein deine jetzt habe hast dann da hier wer wo alle alles nichts etwas jemand niemand tag "
        "morgen gestern mal doch wieder gut sehr während ohne unter mit",
        "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec son "
        "mais comme ou si leur y dont je tu nous vous elle on me te mon ton ma ta mes tes c'est j'ai quand tout même "
        "sans être fait faire aux cette ces très bien jamais toujours aujourd'hui rien moi toi suis es ai "
        "ça cela voilà voici lundi jour alors encore après avant pendant chez où car donc aussi maintenant peu peut "
        "veux avoir vais vas quelqu'un personne chose demain hier tous toutes mec",
        BRAZIL: "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à "
        "seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem mesmo aos "
        "ter seus quem nas me esse eles estão você vocês tinha foram essa num nem meu minha pra tá vou hoje sempre "
        "nunca aí gente "
        "agora enquanto então assim minhas meus olhando fazer fazendo vai vou ainda porque quero dia coisa todo mundo "
        "bem alguém ninguém nada tudo onde ontem amanhã aqui lá outra vez noite",
        "uz": "va bu men sen biz siz uchun bilan emas ham lekin nima qanday bor yo'q deb kerak faqat qachon yana "
        "o'zim juda endi hech shu har bir kun bugun edi ekan keyin "
        "shunday qarab mening sening bizning menga senga menda bo'ldi bo'lsa qildi ishga kerakmi yaxshi yo'q",
    },
    "ARABIC": {
        "fa": "و در به از که این را با است برای آن یک خود تا بر هم من تو ما شما او نیست هست می شد چی چرا وقتی اگه اگر "
        "همه هیچ رو امروز کن کرد بود دیگه فقط",
        "ar": "في من على إلى عن أن هذا هذه التي الذي ما لا كان مع هو هي كل أنا انت أنت نحن لم لن قد بعد قبل عندما لما "
        "اليوم يا مش ليس لكن أو ثم حتى إذا اذا",
    },
    "DEVANAGARI": {
        "hi": "है हैं का की के में से को पर और नहीं यह वह मैं तुम हम आप ने था थी थे हो भी कि जब तो एक क्या क्यों कर "
        "रहा रही रहे मुझे मेरा मेरी बस आज अब कोई सब ये वो ही",
    },
    "ETHIOPIC": {"am": "ነው ነህ ነሽ ናት ናቸው እና ግን ወደ ላይ ውስጥ ከ እኔ አንተ አንቺ እኛ ዛሬ ሁሉም ስለ ምን ለምን ሲሆን እንደ አለ የለም ነበር"},
}
_LISTS = {
    script: {language: frozenset(words.split()) for language, words in lists.items()}
    for script, lists in _WORDS.items()
}
# Words of two languages say less than words of one.
_SHARED = {script: Counter(word for words in lists.values() for word in words) for script, lists in _LISTS.items()}
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['\u2019\u02bb\u02bc`\u0300-\u036f\u0900-\u097f\u200c])*")
# In Uzbek these follow o and g, where other languages have nothing of the kind.
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "`": "'"})
_UZBEK = re.compile(r"[og]['\u02bb]\w")


def known_code(said: str) -> str | None:
    """The code of a language in lower case: ISO 639-1, or `pt-br`; None: it is none.

    A region is dropped, save that of Brazil: en_US is en.
    """
    code = said.strip().lower().replace("_", "-")
    if code == BRAZIL:
        return code
    primary = code.partition("-")[0]
    return primary if primary in ISO_639_1 else None


def language_of(text: str) -> str | None:
    """The language of a text among am, ar, de, en, es, fa, fr, hi, pl, pt-br, ru, uk and uz; None: unsure.

    Portuguese is taken for that of Brazil. Only the first 5000 characters are looked at.
    """
    lowered = unicodedata.normalize("NFC", text[:MOST_CHARS]).lower().translate(_APOSTROPHES)
    script = _script(lowered)
    if script is None or any(letter in _FOREIGN[script] for letter in lowered):
        return None
    words = _WORD.findall(lowered)
    scores = {language: _score(script, language, lowered, words) for language in {**_LETTERS[script], **_LISTS[script]}}
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    best, score = ranked[0]
    runner_up = ranked[1][1] if len(ranked) > 1 else 0.0
    enough = ENOUGH_IN_SHORT if len(words) in SHORT_WORDS else ENOUGH
    return best if score >= enough and score >= AHEAD * runner_up else None


def _script(text: str) -> str | None:
    """The script of most letters, if it is one of those that are told apart."""
    found: Counter[str] = Counter()
    for char, times in Counter(text).items():
        if char.isalpha():
            found[unicodedata.name(char, "?").partition(" ")[0]] += times
    if not found:
        return None
    script, letters = min(found.items(), key=lambda item: (-item[1], item[0]))
    return script if script in _SCRIPTS and 2 * letters > found.total() else None


def _score(script: str, language: str, text: str, words: list[str]) -> float:
    """Words of the language, each by how few others have it, and letters that are its own."""
    known, shared = _LISTS[script].get(language, frozenset()), _SHARED[script]
    hits = sum(1 / shared[word] for word in words if word in known)
    own = any(letter in text for letter in _LETTERS[script].get(language, ""))
    own = own or (language == "uz" and script == "LATIN" and _UZBEK.search(text) is not None)
    return hits + LETTER_WEIGHT * own
