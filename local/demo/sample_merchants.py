"""Who the people of the sample data buy from: the tables behind `local.demo.sample`.

Well-known names are there to look real; what is charged at them is invented.
"""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """How one category looks on a statement.

    Attributes:
        monthly: purchases a month, about.
        low, high: the usual range of one amount.
        chains: the merchants everyone knows, most frequent first.
        words: what small places of this kind call themselves; none means there are none.
        places: how many such small places there are over the two years.
    """

    monthly: int
    low: float
    high: float
    chains: tuple[str, ...]
    words: tuple[str, ...] = ()
    places: int = 0


class Regular(NamedTuple):
    """Something that comes every month on about the same day; income is negative."""

    text: str
    label: str
    day: int
    amount: float
    spread: float = 0.0  # share of the amount by which it differs from month to month
    memo: str = "RECURRING PAYMENT"


class Ambiguous(NamedTuple):
    """A merchant that sells things of several categories: (label, weight, low, high)."""

    text: str
    monthly: int
    kinds: tuple[tuple[str, int, float, float], ...]


CATEGORIES: dict[str, Category] = {
    "Groceries": Category(
        38,
        8,
        140,
        ("WHOLEFDS", "TRADER JOE S", "KROGER", "SAFEWAY", "ALDI", "LIDL", "LOBLAWS", "PUBLIX"),
        ("MARKET", "GROCERY", "FOODS", "DELICATESSEN", "FARM SHOP", "BAKERY", "GREENGROCER"),
        22,
    ),
    "Restaurants": Category(
        34,
        14,
        95,
        ("CHIPOTLE", "PANERA BREAD", "OLIVE GARDEN", "NANDO S", "WAGAMAMA", "DENNY S"),
        (
            *("SUSHI", "BISTRO", "TRATTORIA", "KITCHEN", "GRILL", "TAQUERIA", "NOODLE HOUSE"),
            *("THAI", "CURRY HOUSE", "BRASSERIE", "PIZZERIA", "TAVERN", "DINER"),
        ),
        55,
    ),
    "Coffee": Category(
        26,
        2.5,
        14,
        ("STARBUCKS", "TIM HORTONS", "COSTA COFFEE", "PEET S COFFEE", "DUNKIN"),
        ("COFFEE", "ESPRESSO BAR", "ROASTERS", "CAFE", "TEA ROOM"),
        24,
    ),
    "Fast Food": Category(
        15,
        5,
        28,
        ("MCDONALD S", "SUBWAY", "BURGER KING", "WENDYS", "KFC", "TACO BELL", "FIVE GUYS"),
        ("BURGERS", "FRIED CHICKEN", "KEBAB", "HOT DOGS"),
        8,
    ),
    "Fuel": Category(
        13,
        22,
        85,
        ("SHELL OIL", "CHEVRON", "EXXONMOBIL", "BP", "PETRO CANADA", "ESSO", "TEXACO"),
        ("GAS", "FUELS", "SERVICE STATION"),
        7,
    ),
    "Public Transport": Category(
        15,
        2.5,
        32,
        ("TFL TRAVEL CH", "MTA NYCT PAYGO", "PRESTO FARE", "AMTRAK", "TRAINLINE", "CLIPPER"),
    ),
    "Taxi": Category(10, 7, 48, ("UBER TRIP", "LYFT RIDE", "BOLT.EU", "FREENOW"), ("CABS",), 6),
    "Travel": Category(
        5,
        60,
        900,
        ("AIRBNB", "BOOKING.COM", "EXPEDIA", "DELTA AIR", "MARRIOTT", "HILTON", "RYANAIR"),
        ("HOTEL", "INN", "GUEST HOUSE", "HOSTEL"),
        18,
    ),
    "Health": Category(
        9,
        9,
        160,
        ("CVS PHARMACY", "WALGREENS", "BOOTS", "SHOPPERS DRUG MART", "SPECSAVERS"),
        ("DENTAL", "PHARMACY", "PHYSIO", "CLINIC", "OPTICAL"),
        18,
    ),
    "Clothing": Category(
        9,
        15,
        190,
        ("ZARA", "H M", "UNIQLO", "GAP", "NIKE", "OLD NAVY", "PRIMARK", "ASOS"),
        ("BOUTIQUE", "SHOES", "TAILORS", "OUTFITTERS"),
        12,
    ),
    "Electronics": Category(
        4,
        18,
        650,
        ("BEST BUY", "APPLE STORE", "CURRYS", "MICRO CENTER", "NEWEGG"),
        ("COMPUTERS", "CAMERA", "PHONE REPAIR"),
        8,
    ),
    "Home": Category(
        8,
        12,
        320,
        ("IKEA", "HOME DEPOT", "LOWES", "B Q", "WAYFAIR"),
        ("HARDWARE", "FURNITURE", "GARDEN CENTRE", "PLUMBING", "INTERIORS"),
        18,
    ),
    "Entertainment": Category(
        9,
        8,
        120,
        ("AMC THEATRES", "ODEON", "TICKETMASTER", "STEAMGAMES.COM", "NINTENDO", "EVENTBRITE"),
        ("CINEMA", "THEATRE", "BOWLING", "ARCADE", "MUSEUM"),
        16,
    ),
    "Pets": Category(
        5, 9, 140, ("PETCO", "PETSMART", "CHEWY.COM"), ("VETERINARY", "PET SUPPLIES"), 10
    ),
    "Books & Education": Category(
        5,
        7,
        130,
        ("UDEMY", "COURSERA", "WATERSTONES", "BARNES NOBLE"),
        ("BOOKS", "LANGUAGE SCHOOL", "MUSIC SCHOOL"),
        10,
    ),
    "Donations": Category(
        3, 5, 90, ("WIKIMEDIA", "RED CROSS", "UNICEF", "OXFAM"), ("FOUNDATION", "FOOD BANK"), 6
    ),
    "Fees": Category(
        4,
        1,
        38,
        ("ATM OPERATOR FEE", "FOREIGN TRANSACTION FEE", "OVERDRAFT INTEREST", "LATE PAYMENT FEE"),
    ),
    "Cash": Category(
        6, 20, 300, ("ATM WITHDRAWAL", "CASH WITHDRAWAL LLOYDS", "ATM CHASE", "NOTEMACHINE")
    ),
}

REGULARS: tuple[Regular, ...] = (
    Regular("ACME ROBOTICS PAYROLL", "Salary", 25, -3950.0, 0.02, "DIRECT DEPOSIT"),
    Regular("NORTHWIND DESIGN LLC", "Salary", 28, -1420.0, 0.25, "DIRECT DEPOSIT"),
    Regular("HARBOUR PROPERTY MGMT", "Rent", 1, 1480.0, 0.0, "STANDING ORDER"),
    Regular("E-TRANSFER J OKAFOR RENT", "Rent", 2, 620.0, 0.0, "E-TRANSFER"),
    Regular("CITY POWER & LIGHT", "Utilities", 6, 84.0, 0.35),
    Regular("THAMES WATER", "Utilities", 9, 41.0, 0.1),
    Regular("ENBRIDGE GAS", "Utilities", 12, 66.0, 0.5),
    Regular("OCTOPUS ENERGY", "Utilities", 15, 92.0, 0.3),
    Regular("VERIZON WRLS", "Phone & Internet", 4, 72.0, 0.05),
    Regular("COMCAST XFINITY", "Phone & Internet", 11, 64.99),
    Regular("VODAFONE LTD", "Phone & Internet", 17, 23.0, 0.1),
    Regular("GEICO AUTO", "Insurance", 8, 118.4),
    Regular("AVIVA HOME INS", "Insurance", 14, 31.6),
    Regular("STATE FARM", "Insurance", 21, 54.9),
    Regular("NETFLIX.COM", "Streaming", 3, 15.49),
    Regular("SPOTIFY USA", "Streaming", 7, 10.99),
    Regular("DISNEY PLUS", "Streaming", 13, 13.99),
    Regular("AUDIBLE", "Streaming", 18, 14.95),
    Regular("APPLE.COM/BILL", "Streaming", 19, 9.99),
    Regular("PLANET FIT CLUB FEES", "Fitness", 10, 24.99),
    Regular("PURE GYM LTD", "Fitness", 5, 29.99),
    Regular("CLASSPASS", "Fitness", 16, 49.0, 0.2),
    Regular("VANGUARD BUY INVESTMENT", "Savings", 26, 300.0, 0.0, "STANDING ORDER"),
    Regular("ONLINE TRANSFER TO SAVINGS", "Savings", 27, 250.0, 0.4, "TRANSFER"),
)

AMBIGUOUS: tuple[Ambiguous, ...] = (
    Ambiguous(
        "COSTCO WHSE",
        7,
        (("Groceries", 6, 70, 260), ("Fuel", 3, 38, 70), ("Electronics", 1, 250, 800)),
    ),
    Ambiguous("TESCO STORES", 7, (("Groceries", 7, 6, 90), ("Fuel", 3, 45, 85))),
    Ambiguous(
        "AMZN MKTP",
        13,
        (
            ("Home", 4, 9, 140),
            ("Books & Education", 3, 6, 30),
            ("Electronics", 3, 25, 400),
            ("Clothing", 2, 15, 90),
        ),
    ),
    Ambiguous(
        "WALMART SUPERCENTER",
        9,
        (("Groceries", 7, 15, 170), ("Home", 2, 20, 160), ("Clothing", 1, 12, 70)),
    ),
    Ambiguous(
        "TARGET", 6, (("Home", 4, 12, 150), ("Clothing", 3, 15, 90), ("Groceries", 3, 8, 80))
    ),
    Ambiguous("7-ELEVEN", 6, (("Fuel", 5, 25, 70), ("Groceries", 5, 2, 18))),
    Ambiguous("VENMO PAYMENT", 6, (("Restaurants", 6, 8, 60), ("Rent", 1, 300, 700))),
)

NAMES = (
    *("BLUE HERON", "GOLDEN LION", "OLD MILL", "RED DOOR", "SILVER BIRCH", "HARBOUR", "MAPLE"),
    *("CEDAR", "JUNIPER", "SAFFRON", "LITTLE OWL", "CORNER", "UNION", "KING STREET", "RIVERSIDE"),
    *("HILLTOP", "SUNNYSIDE", "NORTH STAR", "WILLOW", "FOXGLOVE", "COPPER", "IVY", "LANTERN"),
    *("MERIDIAN", "OAKWOOD", "PEBBLE", "QUAY", "ROSEMARY", "STATION", "TWO RIVERS", "VIOLET"),
    *("WHITE HART", "YELLOW BARN", "ZEPHYR", "ANCHOR", "BELL TOWER", "CLIFFSIDE", "DRAGON"),
    *("EAST END", "FERRY", "GRANITE", "HAWTHORN", "INDIGO", "JASMINE", "KESTREL", "LAKESIDE"),
)
# Places whose name says nothing about what they sell: only their own history tells.
SILENT_NAMES = (
    *("MARLOWE & FINCH", "PASCAL & SONS", "THE COMMON", "NUMBER NINE", "ELLIS BROTHERS"),
    *("VESPER", "HOUSE OF BRAM", "TANDEM", "ODDFELLOWS", "KINDRED", "WREN & CO", "BASTION"),
    *("PARLOUR", "SALT", "MOSS", "ARCHIVE", "FOUNDRY", "NOVA", "ATLAS", "EMBER"),
)
CITIES = (
    *("TORONTO ON", "NEW YORK NY", "LONDON GB", "OAKLAND CA", "SEATTLE WA", "BIRMINGHAM"),
    *("AUSTIN TX", "DUBLIN IE", "CHICAGO IL", "MANCHESTER", "OTTAWA ON", "PORTLAND OR"),
)
PROCESSORS = ("", "", "", "SQ *", "SQ *", "TST* ", "PAYPAL *", "SUMUP *", "ZETTLE_*")
