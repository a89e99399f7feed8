"""How far the guesses for a user without labels can be trusted.

    .venv/bin/python -m benchmarks.quality.first_hour bank.csv.gz [--by mcc|named] [--errors N]

The file has the columns date, amount (money out is positive), currency, merchant, description and
label. A label is either the text of a merchant category code (`--by mcc`, table below) or a
category somebody named (`--by named`, through `kind_named`); rows whose label tells no kind count
for coverage only. The figures are of the last fifth by date, for which nothing was tuned; `unseen`
are its merchants that the first four fifths did not have.

`right` is the same kind; `close` is also right where one kind is part of the other or the scheme
of labels has no such kind (merchant category codes know no coffee).
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from shared.features.brands import lookup_category
from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.features.taxonomy import category_of_label, parent_category

# The beginning of a code's text, and the kinds it can stand for, the likeliest first.
MCC_TEXTS = """
Groceries: Grocery Stores | Miscellaneous Food Stores | Bakeries | Candy, Nut | Freezer, Locker |
  Dairy Product | Wholesale Clubs
Restaurants, Fast Food, Coffee: Eating Places
Restaurants: Caterers
Fast Food, Coffee, Restaurants: Quick Payment Service
Alcohol & Bars: Bars, Cocktail | Package Stores
Fuel: Service Stations | Fuel Dispenser | Fuel Dealers | Petroleum and
Parking: Automobile Parking | Bridge and Road
Public Transport: Transportation - Suburban | Passenger Railways | Railroads | Bus Lines |
  Transportation Services
Taxi: Limousines
Car: Automotive | Automobile and Truck | Miscellaneous Automotive | Car Washes | Towing |
  Motor Vehicle Supplies | Motorcycle Shops | Boat Dealers | Motor Home Dealers | Camper Dealers |
  Marinas | Snowmobile | Tire Retreading
Travel: Travel Agencies | Enterprise Rent | Automobile Rental | Budget Rent | Thrifty Rent |
  Auto Host | Truck and Utility | Boat Leases | Airports | Sporting and Recreational Camps |
  Campgrounds | Direct Marketing - Travel | Motor Home and Rec
Flights: Air Canada | WestJet | Air Carriers | United Airlines | American Airlines | Air France |
  Lufthansa | Emirates | Scandinavian Airline | Quebecaire | China Airlines | Royal Dutch |
  British Airways | Compania Panamena | Norwegian Air | Iberia | =Delta
Hotels: Lodging | Sheraton | Westin | Delta Hotels | Comfort Inns | Hyatt | Holiday Inns |
  Radisson | Marriott | Novotel | Best Western | Doubletree | Fairmont | Homewood | Courtyard |
  Omni Hotels | Quality Inns | Hilton | Residence Inn | Hampton Inn | Intercontinental | Days Inns |
  Embassy | Fairfield | Renaissance | Crowne | Clarion | Super 8 | Sandman | Scandic | EconoLodges |
  Sonesta | Howard Johnson | Hotel Indigo | Meridien | Wyndham
Shopping, Groceries: Discount Stores | Variety Stores | Department Stores |
  Miscellaneous General Merch
Shopping: Clock, Jewelry | Second Hand | Antique | Cigar Stores | Precious Stones | Stamp and Coin |
  Duty Free | Religious Goods | Crystal and Glass
Clothing: Men's and | Family Clothing | Accessory  and | Mens, Womens | Shoe Stores | Women's |
  Leather Goods | Furriers | Alterations | Clothing Rental | Hat Cleaning
Children, Clothing: Children's and Inf
Children: Child Care
Electronics: Electronic Sales | Computers, Computer | Camera and | Electronic Repair | Computer Main
Electronics, Home: Household Appliance | Appliance Repair
Home: Home Supply | Hardware | Lawn and Garden | Glass, Paint | Building Materials |
  Construction Materials | Plumbing and | Electrical | Air Conditioning | Floor Covering |
  Equipment, Furniture | Miscellaneous House | Horticultural | Contractors | General Contractors |
  Cleaning | Exterminating | Dry Cleaners | Specialty Cleaning | Drapery | Insulation | Concrete |
  Roofing | Paints | Carpentry | Furniture | Carpet | Welding | Swimming Pools | Tent |
  Equipment Rental | Office and Commercial Furn | Industrial Supplies | Metal Service |
  Public Warehousing | Miscellaneous Repair | Florists Supplies
Utilities: Utilities
Phone & Internet: Telecommunication Service | Cable and Other
Phone & Internet, Electronics: Telecommunication Equip
Streaming: Record Shops | Digital Goods - Audio | Digital Goods - Multi
Software, Phone & Internet, Shopping: Computer Network
Software, Electronics: Computer Software
Software: Computer Programming | Information Retrieval | Digital Goods - Soft
Health: Laboratory | Hospitals | Health Practitioners | Hearing Aids | Dental | Doctors |
  Opticians | Optometrists | Dentists | Orthopedic | Nursing | Ambulance
Pharmacy: Drug Stores | Drugs, Drug
Hair & Beauty: Cosmetic | Barber | Health and Beauty | Wig
Fitness: Sporting Goods | Sports Apparel | Bicycle Shops | Clubs - | Athletic Fields | Golf |
  Dance Halls
Entertainment: Theatrical | Motion Picture Theaters | Bowling | Amusement | Tourist | Recreation |
  Bands | Aquariums | Video Game | Video Amuse | Art Dealers | Digital Goods - Games
Toys & Hobbies: Game, Toy | Artist Supply | Fabric, Needle | Music Stores | Piece Goods |
  Photographic Studios | Photo Dev
Pets: Pet Shops | Veterinary
Books & Education: Book Stores | Books, Period | Colleges | Educational | Schools | News Dealers
Post & Office, Books & Education: Miscellaneous Publishing
Gifts: Card, Gift | Florists
Donations: Organizations, Charitable | Organizations, Religious
Insurance: Insurance
Rent: Real Estate
Services: Advertising | Professional Services | Consulting | Attorneys | Accounting |
  Architectural | Detective | Funeral | Employment | Associations - | Organizations, Membership
Post & Office: Office, School | Postal | Courier | Quick Copy | Motor Freight | Stationery |
  Typeset | Office, Photographic | Commercial Art
Taxes: Government Serv | Fines
"""
_COARSE = {"Coffee": {"Fast Food", "Restaurants"}}


class Case(NamedTuple):
    """A transaction, and the kinds its label can stand for; none when it tells none."""

    row: FeatureRow
    label: str
    kinds: tuple[str, ...]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.quality.first_hour")
    parser.add_argument("file", type=Path)
    parser.add_argument("--by", choices=("mcc", "named"), default="mcc")
    parser.add_argument("--first", action="store_true", help="the first four fifths instead")
    parser.add_argument("--errors", type=int, default=0, help="list the most frequent errors")
    parser.add_argument("--labels", action="store_true", help="list each kind's labels")
    options = parser.parse_args(argv)
    truth = _kinds_of_text if options.by == "mcc" else _kinds_of_name
    cases = _read(options.file, truth)
    cut = len(cases) * 4 // 5
    if options.first:
        _report({"rows": cases[:cut], "merchants": _distinct(cases[:cut])})
        part = cases[:cut]
    else:
        seen = {case.row.merchant for case in cases[:cut]}
        part = cases[cut:]
        unseen = [case for case in part if case.row.merchant not in seen]
        _report(
            {
                "rows": part,
                "merchants": _distinct(part),
                "unseen rows": unseen,
                "unseen merchants": _distinct(unseen),
                "all five fifths": cases,
            }
        )
    if options.errors:
        _errors(part, options.errors)
    if options.labels:
        _labels(cases)
    return 0


def _read(path: Path, truth: Callable[[str], tuple[str, ...]]) -> list[Case]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [
            Case(
                features_of(
                    RawTransaction(
                        merchant=line["merchant"],
                        description=line["description"],
                        amount=-float(line["amount"]),
                        currency=line["currency"],
                        date=dt.date.fromisoformat(line["date"]),
                    )
                ),
                line["label"],
                truth(line["label"]),
            )
            for line in csv.DictReader(file)
        ]


def _text_table() -> list[tuple[str, tuple[str, ...]]]:
    table = []
    kinds: tuple[str, ...] = ()
    for line in MCC_TEXTS.strip().splitlines():
        head, colon, rest = line.partition(": ")
        if colon and not line.startswith(" "):
            kinds = tuple(head.split(", "))
        else:
            rest = line
        table += [(text, kinds) for part in rest.split("|") if (text := part.strip())]
    return sorted(table, key=lambda entry: -len(entry[0]))


_TEXTS = _text_table()


def _kinds_of_text(label: str) -> tuple[str, ...]:
    for text, kinds in _TEXTS:
        if label == text[1:] if text.startswith("=") else label.startswith(text):
            return kinds
    return ()


def _kinds_of_name(label: str) -> tuple[str, ...]:
    kind = category_of_label(label)
    return (kind,) if kind else ()


def _distinct(cases: Sequence[Case]) -> list[Case]:
    """One case a merchant, with the label it has most often."""
    labels: dict[str, Counter[Case]] = {}
    for case in cases:
        plain = Case(case.row, case.label, case.kinds)
        labels.setdefault(case.row.merchant, Counter())[plain] += 1
    return [counts.most_common(1)[0][0] for counts in labels.values()]


def _close(kind: str, kinds: tuple[str, ...]) -> bool:
    return (
        kind in kinds
        or parent_category(kind) in kinds
        or any(parent_category(other) == kind for other in kinds)
        or bool(_COARSE.get(kind, set()) & set(kinds))
    )


def _report(parts: dict[str, list[Case]]) -> None:
    print(f"{'':18}{'by':9}{'cases':>9}{'covered':>9}{'judged':>9}{'right':>8}{'close':>8}")
    for name, cases in parts.items():
        guessed = [(lookup_category(case.row), case) for case in cases]
        for source in ("brand", "word", "channel", "all"):
            found = [(one, case) for one, case in guessed if one and source in ("all", one.source)]
            judged = [(one, case) for one, case in found if case.kinds]
            right = sum(one.category in case.kinds for one, case in judged)
            close = sum(_close(one.category, case.kinds) for one, case in judged)
            share = max(len(judged), 1)
            print(
                f"{name:18}{source:9}{len(cases):9,}{len(found) / max(len(cases), 1):9.1%}"
                f"{len(judged):9,}{right / share:8.1%}{close / share:8.1%}"
            )


def _errors(cases: Sequence[Case], limit: int) -> None:
    wrong: Counter[tuple[str, str, str, str]] = Counter()
    example: dict[tuple[str, str, str, str], str] = {}
    for case in cases:
        one = lookup_category(case.row)
        if one and case.kinds and not _close(one.category, case.kinds):
            key = (str(one.source), one.evidence, one.category, case.label)
            wrong[key] += 1
            example.setdefault(key, case.row.line)
    print(f"\n{sum(wrong.values()):,} not even close; the most frequent:")
    for key, count in wrong.most_common(limit):
        print(f"{count:6} {key[0]:8}{key[1][:28]:29}{key[2]:18}{key[3]:41}{example[key]}")


def _labels(cases: Sequence[Case]) -> None:
    found: dict[str, Counter[str]] = {}
    for case in cases:
        if one := lookup_category(case.row):
            found.setdefault(one.category, Counter())[case.label] += 1
    print()
    for kind, labels in sorted(found.items()):
        shown = "; ".join(f"{label} {count}" for label, count in labels.most_common(6))
        print(f"{kind:18}{labels.total():7,}  {shown}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
