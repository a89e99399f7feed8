"""Make the table of brands from OpenStreetMap's name-suggestion-index.

    .venv/bin/python -m local.setup.make_brands path/to/name-suggestion-index

The path is the unpacked npm package; shared/features/data/NOTICE says which version, so
`npm pack name-suggestion-index@<version>` brings it. Writes shared/features/data/brands.tsv.gz, the
same bytes for the same version of it and of zlib, and its licence beside. brands.common.txt there
is written by hand: words in use that are also the name of some brand.

A row of the table is one brand: keys, how likely it is meant, name, kind, countries (none:
everywhere). A key is a name as `shared.features.brands` compares it, marked with how freely it may
be matched; the brand's own name stands first.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.features.brands import MARKS, START, WEAK, WHOLE, key_of
from shared.text.normalize import spaced

DATA = Path(__file__).parents[2] / "shared" / "features" / "data"
Item = dict[str, Any]

# Which paths of the index belong to which kind, the most telling first: a name that stands in
# several is of the first. What is not here (banks, schools, power lines) is left out.
PATHS = """
Groceries: shop/supermarket shop/wholesale
Shopping: shop/department_store shop/variety_store shop/general shop/mall
Fuel: amenity/fuel highway/services
Groceries: shop/convenience shop/greengrocer shop/butcher shop/bakery shop/deli shop/dairy
  shop/cheese shop/seafood shop/frozen_food shop/health_food shop/pastry shop/confectionery
  shop/chocolate shop/nuts shop/spices shop/farm shop/newsagent shop/kiosk
Pharmacy: amenity/pharmacy shop/chemist shop/nutrition_supplements shop/herbalist
Coffee: amenity/cafe shop/coffee shop/tea
Fast Food: amenity/fast_food amenity/ice_cream
Restaurants: amenity/restaurant amenity/biergarten
Alcohol & Bars: shop/alcohol shop/wine shop/beverages amenity/pub amenity/bar
Home: shop/doityourself shop/furniture shop/hardware shop/houseware shop/trade shop/kitchen
  shop/bed shop/garden_centre shop/interior_decoration shop/paint shop/household_linen shop/tiles
  shop/flooring shop/carpet shop/lighting shop/bathroom_furnishing shop/curtain shop/doors
  shop/window_blind shop/electrical shop/tool_hire shop/plant_hire shop/vacuum_cleaner
  shop/agrarian shop/country_store shop/glaziery shop/swimming_pool shop/fireplace shop/locksmith
  shop/power_tools shop/groundskeeping shop/laundry shop/dry_cleaning shop/storage_rental
  shop/pest_control craft/cleaning craft/plumber craft/electrician craft/window_construction
  craft/glaziery craft/carpenter craft/painter shop/candles shop/bbq
Clothing: shop/clothes shop/shoes shop/bag shop/fashion_accessories shop/leather shop/tailor
  shop/shoe_repair shop/boutique
Electronics: shop/electronics shop/computer shop/hifi shop/appliance shop/camera
  craft/electronics_repair shop/printer_ink shop/mobile_phone_accessories
Phone & Internet: shop/mobile_phone shop/telecommunication office/telecommunication
Entertainment: amenity/cinema tourism/theme_park tourism/zoo tourism/museum tourism/aquarium
  leisure/bowling_alley leisure/amusement_arcade leisure/trampoline_park leisure/indoor_play
  leisure/escape_game leisure/miniature_golf shop/video_games amenity/karaoke_box shop/ticket
  leisure/high_ropes_course shop/video amenity/nightclub amenity/theatre
Toys & Hobbies: shop/toys shop/craft shop/games shop/model shop/fabric shop/art shop/photo
  shop/musical_instrument shop/anime shop/frame shop/pottery
Books & Education: shop/books amenity/library amenity/language_school amenity/prep_school
  amenity/driving_school amenity/music_school amenity/university amenity/college amenity/training
Pets: shop/pet amenity/veterinary shop/pet_grooming amenity/animal_boarding
Fitness: leisure/fitness_centre leisure/sports_centre shop/sports shop/outdoor shop/bicycle
  leisure/dance shop/fishing
Hair & Beauty: shop/hairdresser shop/cosmetics shop/perfumery shop/beauty shop/massage
  shop/hairdresser_supply shop/tattoo leisure/sauna
Health: amenity/clinic amenity/dentist amenity/doctors amenity/hospital shop/optician
  shop/hearing_aids healthcare/laboratory healthcare/sample_collection healthcare/physiotherapist
  healthcare/counselling healthcare/audiologist shop/medical_supply healthcare/dialysis
Hotels: tourism/hotel tourism/motel tourism/hostel tourism/guest_house
Travel: shop/travel_agency amenity/car_rental amenity/car_sharing tourism/camp_site
  tourism/caravan_site shop/rental
Car: shop/car_repair shop/car_parts shop/tyres shop/car amenity/car_wash shop/motorcycle
  shop/motorcycle_repair amenity/vehicle_inspection shop/truck_repair shop/caravan shop/boat
Parking: amenity/parking amenity/parking_space highway/toll_gantry barrier/toll_booth
Shopping: shop/jewelry shop/watches shop/tobacco shop/e-cigarette shop/second_hand shop/charity
  shop/outpost shop/pawnbroker shop/gold_buyer shop/erotic shop/cannabis shop/catalogue
Gifts: shop/gift shop/florist shop/party
Children: shop/baby_goods amenity/kindergarten amenity/childcare
Post & Office: amenity/post_office shop/stationery shop/copyshop office/logistics
  amenity/post_depot amenity/parcel_locker office/moving_company
Gambling: shop/lottery shop/bookmaker amenity/casino amenity/gambling leisure/adult_gaming_centre
Insurance: office/insurance
Rent: office/estate_agent office/mortgage
Services: office/lawyer office/accountant office/tax_advisor office/employment_agency
  shop/funeral_directors office/consulting office/security
Donations: amenity/social_facility
Taxi: amenity/taxi
Fuel: amenity/charging_station man_made/charge_point
Public Transport: route/train route/subway route/light_rail route/tram route/bus route/ferry
  amenity/bicycle_rental
Utilities: office/energy_supplier office/water_utility power/substation shop/gas
"""
# Cuisines that make a café or a fast-food place of another kind than its path says.
COFFEE = {"coffee_shop", "bubble_tea", "tea"}
COMMON = frozenset((DATA / "brands.common.txt").read_text(encoding="utf-8").split())
# Places whose operators are no shops' names.
ONLY_BRANDS = {"shop", "tourism", "leisure", "office"}


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print(
            "usage: python -m local.setup.make_brands path/to/name-suggestion-index",
            file=sys.stderr,
        )
        return 2
    source = Path(argv[0])
    version, table = table_of(source)
    (DATA / "brands.tsv.gz").write_bytes(packed(table))
    (DATA / "NOTICE").write_text(notice_of(source, version), encoding="utf-8")
    print(f"name-suggestion-index {version}: {table.count(chr(10)) - 1:,} brands")
    return 0


def packed(table: str) -> bytes:
    """*table* compressed, the same bytes whenever and wherever."""
    return gzip.compress(table.encode(), compresslevel=9, mtime=0)


def notice_of(source: Path, version: str) -> str:
    """Where the table comes from, and the licence that goes with it."""
    return (
        f"brands.tsv.gz is made from name-suggestion-index {version}, "
        "by local/setup/make_brands.py.\n"
        "Project: OpenStreetMap's name-suggestion-index (osmlab/name-suggestion-index).\n"
        "Its licence:\n\n" + (source / "LICENSE.md").read_text(encoding="utf-8").strip() + "\n"
    )


def table_of(source: Path) -> tuple[str, str]:
    """The version of the index in *source*, and the table as text, sorted."""
    version = json.loads((source / "package.json").read_text(encoding="utf-8"))["version"]
    index = json.loads((source / "dist" / "json" / "nsi.min.json").read_text(encoding="utf-8"))
    paths = {path: part["items"] for path, part in index["nsi"].items()}
    common = _common_words(paths)
    kinds = _kinds_of_paths()
    rank = {path: number for number, path in enumerate(kinds)}
    brands: dict[tuple[str, str], list[tuple[int, Item, str]]] = defaultdict(list)
    for path, items in paths.items():
        tree, _, place = path.partition("/")
        if place not in kinds or (tree == "operators" and place.split("/")[0] in ONLY_BRANDS):
            continue
        for item in items:
            name = _name(item)
            kind = _kind(kinds[place], item)
            brands[name, kind].append((rank[place] + 1000 * (tree != "brands"), item, tree))
    rows = []
    for (name, kind), found in brands.items():
        keys = sorted({key for _, item, tree in found for key in _keys(item, tree, common)})
        own = key_of(spaced(name).split())  # first: no other brand's second name beats it
        keys.sort(key=lambda key: key.lstrip(MARKS) != own)
        if keys:
            countries = _countries([item for _, item, _ in found])
            rows.append((min(place for place, _, _ in found), name, kind, countries, keys))
    rows.sort(key=lambda row: (row[1], row[0], row[2]))
    return version, f"# name-suggestion-index {version}\n" + "".join(
        f"{' '.join(keys)}\t{place}\t{name}\t{kind}\t{countries}\n"
        for place, name, kind, countries, keys in rows
    )


def _kinds_of_paths() -> dict[str, str]:
    kinds: dict[str, str] = {}
    kind = ""
    for line in PATHS.strip().splitlines():
        head, colon, rest = line.partition(": ")
        kind = head if colon else kind
        kinds.update(dict.fromkeys((rest if colon else head).split(), kind))
    return kinds


def _kind(kind: str, item: Item) -> str:
    cuisines = item["tags"].get("cuisine", "").split(";")
    if kind == "Fast Food" and cuisines[0] in COFFEE:
        return "Coffee"
    if kind == "Fast Food" and {"donut", "coffee_shop"} <= set(cuisines):
        return "Coffee"
    return kind


def _name(item: Item) -> str:
    """What people call it: without the place that tells two apart in the index."""
    return re.sub(r"\s*\([^)]*\)$", "", item["displayName"]).strip() or item["displayName"]


_NAME_TAG = re.compile(
    r"(name|brand|network|operator|official_name|alt_name|short_name|brand:short|network:short"
    r"|operator:short)(:(?!wikidata|wikipedia|type|guid)[\w-]+)?"
)


def _names(item: Item) -> Iterator[str]:
    yield _name(item)
    yield from item.get("matchNames", ())
    tags = item["tags"]
    own = {"brand", "name"} & tags.keys() or {"network"} & tags.keys() or {"operator"}
    for tag, value in tags.items():
        base = tag.split(":")[0]
        if _NAME_TAG.fullmatch(tag) and (base in own or base.endswith("_name")):
            yield from value.split(";")


def _keys(item: Item, tree: str, common: Counter[str]) -> Iterator[str]:
    for name in _names(item):
        words = spaced(name).split()
        if len(words) > 1 and words[0] == "the":
            words = words[1:]
        key = key_of(words)
        if key.isascii() and len(key) < (2 if tree == "brands" else 4):
            continue  # abbreviations of authorities and networks are also somebody else's
        if key and not key.isdigit():
            yield _mark(key, words, common) + key


def _mark(key: str, words: list[str], common: Counter[str]) -> str:
    """How freely *key* may be matched.

    WHOLE: too short or too common. Anywhere: several words, or one that is long and in nobody
    else's name. Of the rest, which must start a line, one word alone is WEAK.
    """
    rarest = min(common[word] for word in words)
    one = len(words) == 1 or len(key) < 5
    if len(key) < 3 or (one and (key in COMMON or (key.isascii() and len(key) < 4))):
        return WHOLE
    if one and common[words[0]] > 5:
        return WHOLE
    if (len(words) > 1 and len(key) > 8 and rarest < 20) or (len(key) > 7 and rarest < 2):
        return ""
    return WEAK if one else START


def _common_words(paths: dict[str, list[Item]]) -> Counter[str]:
    """In how many names each word stands elsewhere than first, over the whole index."""
    names = {
        tuple(spaced(_name(item)).split())
        for path, items in paths.items()
        if not path.startswith("flags/")
        for item in items
    }
    return Counter(word for words in names for word in set(words[1:]))


def _countries(items: list[Item]) -> str:
    """Two-letter codes of where the brand is, sorted; '' where it is, or may be, everywhere."""
    codes = set()
    for item in items:
        for place in item["locationSet"].get("include", ()):
            found = re.match(r"([a-z]{2})(?![a-z])", place) if isinstance(place, str) else None
            if not found:
                return ""
            codes.add("fr" if found[1] == "fx" else found[1])
    return " ".join(sorted(codes)).upper()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
