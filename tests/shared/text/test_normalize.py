"""What cleaning promises: one shop, one name; what tells categories apart stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.text.normalize import TEXT_MAX, clean_description, clean_merchant, fold, printable
from shared.text.normalize_vocabulary import ALIASES, CITIES, LEGAL_FORMS, REGIONS, STORE_WORDS

ONE_SHOP = {
    "tim hortons": [
        "TIM HORTONS",
        "TIM HORTONS #1234 TORONTO ON",
        "TIM HORTONS 4471 OTTAWA",
        "Tim Hortons #0042 KAPUSKASING ON",
        "POS PURCHASE TIM HORTONS #77",
        "INTERAC PURCHASE - TIM HORTONS #123",
    ],
    "amazon marketplace": [
        "AMZN MKTP CA*MB6VY1UH0",
        "AMZN MKTP CA KQ4821AP3",
        "AMZN Mktp US*ABCDEFGHI",
        "AMAZON *MARKETPLCE CA W",
        "amazon uk marketplace",
    ],
    "amazon": ["AMAZON.CA", "AMAZON.CA*M01B59M21", "AMAZON.CA LC2TH1LI3", "amazon.co.uk"],
    "facebook": ["FACEBK U2EHUHAV82", "FACEBK *7K6CSE6QD2", "facebook zkq5c8eny2"],
    "google ads": ["GOOGLE *ADS7152572746", "GOOGLE*ADWS1253906085"],
    "blue bottle": ["SQ *BLUE BOTTLE", "SQ *SQ *BLUE BOTTLE", "SQ  SQ  BLUE BOTTLE"],
    "walmart": ["WAL-MART #3159", "WAL-MART # 3111", "WALMART #1004", "WAL-MART"],
    "staples": ["STAPLES STORE #102", "STAPLES STORE #2", "STAPLES.CA", "Staples Inc."],
    "tesco": ["tesco stores 5504", "tesco store 2933", "CARD PAYMENT TO TESCO STORES 2371"],
}

PREFIXES = {
    "TST* THE GREEN TABLE": "green table",
    "PAYPAL *EBAY": "ebay",
    "PAYPAL  TRAVELINGCR": "travelingcr",
    "PP*SPOTIFY": "spotify",
    "SumUp  *Backstube Krause": "backstube krause",
    "ZETTLE_*COFFEE CART": "coffee cart",
    "IZ *FARM STAND": "farm stand",
    "SP * BATTERY WAREHOUSE": "battery warehouse",
    "CKE*LUIGIS": "luigis",
    "DD *DOORDASH SUSHI": "doordash sushi",
    "KARTENZAHLUNG EDEKA NORD": "edeka nord",
    "SEPA-LASTSCHRIFT VATTENFALL SALES GMBH": "vattenfall sales",
    "PAIEMENT PAR CARTE MONOPRIX": "monoprix",
    "CB CARREFOUR CITY": "carrefour city",
    "PRLV SEPA EDF": "edf",
    "COMPRA TARJETA MERCADONA": "mercadona",
    "PAGAMENTO POS ESSELUNGA": "esselunga",
    "BETAALAUTOMAAT ALBERT HEIJN": "albert heijn",
    "VISA DEBIT PURCHASE CARD 1234 LIDL": "lidl",
    "DIRECT DEBIT TO BRITISH GAS": "british gas",
}

CHANGING = {
    "IMPARK00090385A": "impark",
    "SHOPPERSDRUGMART0901": "shoppersdrugmart",
    "UPS*000000502A9A128": "ups",
    "#183 MARK'S": "marks",
    "COSTCO WHOLESALE W524": "costco wholesale",
    "LOWES #02494*": "lowes",
    "OSG #Q-168775": "osg",
    "LUSCANGROUP-INV-6653": "luscangroup",
    "FLIGHTHUB.COM 01 OF 01": "flighthub",
    "WESTJET 0005500405045": "westjet",
    "CANVA  02386-10334025": "canva",
    "VIA RAIL//QHU731/28MAY": "via rail",
    "REWE 12.03.2024 14:22": "rewe",
    "REWE 2024-03-12T14:22": "rewe",
    "REWE 12 MAR 24": "rewe",
    "LIDL XXXXXXXX1234": "lidl",
    "LIDL 4512********9876": "lidl",
    "HOTEL ADLON AUTH: A7F3G9": "hotel adlon",
    "ACME PARTS 416-555-0123": "acme parts",
    "ACME PARTS +49 30 1234567": "acme parts",
    "APPLE.COM/BILL 866-712-7753 CA": "apple bill",
    "PURCHASE AUTHORIZED ON 03/04 STARBUCKS STORE 12345 SEATTLE WA S461234567890 CARD 1234": (
        "starbucks"
    ),
}

KEPT = {
    "7-ELEVEN 34512 DALLAS TX": "7 eleven",
    "3M CANADA": "3m canada",
    "H&M 0123": "h&m",
    "C&A": "c&a",
    "B&Q 1234": "b&q",
    "FOREVER 21 #45": "forever 21",
    "O2": "o2",
    "1800FLOWERS.COM": "1800flowers",
    "1-800-FLOWERS.COM": "1800flowers",
    "24 HOUR FITNESS": "24 hour fitness",
    "24/7 FITNESS": "24 7 fitness",
    "MOTEL 6": "motel 6",
    "STUDIO 54": "studio 54",
    "MARKET 21": "market 21",
    "5 MARRIOTT": "5 marriott",
    "BET365": "bet365",
    "MICROSOFT*OFFICE 365": "microsoft office 365",
    "CITY OF TORONTO": "city of toronto",
    "AIR CANADA": "air canada",
    "AIR BERLIN": "air berlin",
    "TOYS R US": "toys r us",
    "UBER   TRIP B6OEV": "uber trip",
    "UBER *EATS PENDING": "uber eats",
    "itunes.com/bill": "itunes bill",
    "THE BAY": "the bay",
    "CASH APP": "cash app",
}

SCRIPTS = {
    "Café Müller Straße": "cafe muller strasse",
    "ŁÓDŹ PIEKARNIA": "lodz piekarnia",
    "ЁЛКИ КАФЕ №12": "елки кафе",
    "तिरुपति भोजनालय": "तिरुपति भोजनालय",
    "ร้านกาแฟ 1234": "ร้านกาแฟ",
    "스타벅스 강남점": "스타벅스 강남점",
    "ＳＴＡＲＢＵＣＫＳ １２３４": "starbucks",
    "株式会社ローソン": "株式会社ローソン",
    "مَطْعَم": "مَطْعَم",
    "ΚΑΦΈΣ": "καφεσ",
}

NOTHING_LEFT = {"POS": "pos", "1234": "1234", "VISA DEBIT": "visa debit", "#1234": "1234"}


def _pairs(table: dict[str, str]) -> list[object]:
    return [pytest.param(raw, want, id=raw) for raw, want in table.items()]


@pytest.mark.parametrize(
    ("raw", "shop"), [pytest.param(r, shop, id=r) for shop, raws in ONE_SHOP.items() for r in raws]
)
def test_every_printing_of_a_shop_gives_the_same_name(raw: str, shop: str) -> None:
    assert clean_merchant(raw) == shop


@pytest.mark.parametrize(("raw", "want"), _pairs(PREFIXES))
def test_prefixes_of_banks_and_processors_are_removed(raw: str, want: str) -> None:
    assert clean_merchant(raw) == want


@pytest.mark.parametrize(("raw", "want"), _pairs(CHANGING))
def test_store_numbers_dates_and_references_are_removed(raw: str, want: str) -> None:
    assert clean_merchant(raw) == want


@pytest.mark.parametrize(("raw", "want"), _pairs(KEPT))
def test_words_and_digits_of_a_name_stay(raw: str, want: str) -> None:
    assert clean_merchant(raw) == want


@pytest.mark.parametrize(("raw", "want"), _pairs(SCRIPTS))
def test_only_latin_greek_and_cyrillic_lose_accents(raw: str, want: str) -> None:
    assert clean_merchant(raw) == unicodedata.normalize("NFC", want)


@pytest.mark.parametrize(("raw", "want"), _pairs(NOTHING_LEFT))
def test_line_of_noise_words_only_keeps_them(raw: str, want: str) -> None:
    assert clean_merchant(raw) == want


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        ("Dial valve 1 1/2 top mount", "dial valve 1 1 2 top mount"),
        ("PAPER on 03/04/2024 at 14:03", "paper on at"),
        ("Invoice #12345 toner", "invoice toner"),
        ("**MORE**  SHOVEL", "more shovel"),
        ("Rent for flat 12", "rent for flat 12"),
        ("e-Transfer sent ref CAa1b2c3d4", "e transfer sent ref"),
        ("Driver's licence", "drivers licence"),
        ("", ""),
        (" \t\x00\n", ""),
    ],
)
def test_a_description_loses_only_dates_and_references(raw: str, want: str) -> None:
    assert clean_description(raw) == want


_NOISE = ["#123", "0042", "12/03", "12.03.2024", "MB6VY1UH0", "*", "SQ *", "PAYPAL *", "POS", "on"]
_WORDS = sorted({*_NOISE, *CITIES, *REGIONS, *LEGAL_FORMS, *STORE_WORDS, *(n for _, n in ALIASES)})
_ANY_TEXT = st.text(st.characters(codec=None), max_size=60)
_BANK_LINE = st.lists(
    st.one_of(st.sampled_from(_WORDS), st.text("ab1 9.-*#/&'", max_size=9)), max_size=8
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.one_of(_ANY_TEXT, _BANK_LINE))
@example("ﷺ" * TEXT_MAX)
@example("a\ud800\x00b")
@example("İ" * 50)
@example("the 1 sq * of #1 on")
def test_cleaning_any_text_twice_equals_cleaning_it_once(text: str) -> None:
    for clean in (clean_merchant, clean_description):
        cleaned = clean(text)
        assert clean(cleaned) == cleaned
        assert unicodedata.is_normalized("NFC", cleaned)
        assert len(cleaned) <= TEXT_MAX
        assert cleaned == " ".join(cleaned.split())
        assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in cleaned)
        assert cleaned.encode("utf-8").decode("utf-8") == cleaned


@settings(max_examples=100, deadline=None)
@given(_ANY_TEXT)
def test_text_with_a_letter_or_digit_is_never_cleaned_to_nothing(text: str) -> None:
    has_word = any(char.isalnum() for char in fold(text))
    assert clean_merchant(text) or not has_word


@settings(max_examples=100, deadline=None)
@given(_ANY_TEXT)
def test_printable_text_can_be_stored_and_printable_is_done_once(text: str) -> None:
    stored = printable(text)
    assert "\x00" not in stored
    assert stored.encode("utf-8").decode("utf-8") == stored
    assert printable(stored) == stored
