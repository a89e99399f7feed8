"""Column names of bank statements in en, fr, de, es, it, pt and nl, and the fields they mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from shared.errors import InvalidInput


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split("|"))


# Field to names, of which the earlier wins: many files have a booking date and a value date.
NAMES: Mapping[str, str] = {
    "id": (
        "txn id|external id|transaction id|transactionid|id|unique id|txnid|id transaction|"
        "identifiant|identificador|id operacion|id transazione|id transacao|transactie id|"
        "transaktions id|fitid"
    ),
    "date": (
        "date|transaction date|trans date|txn date|date operation|date op|date de l operation|"
        "date d operation|date de transaction|buchungstag|buchungsdatum|datum|transaktionsdatum|"
        "fecha|fecha operacion|fecha de operacion|fecha de la operacion|data|data operazione|"
        "data contabile|data da operacao|data movimento|data mov|data lancamento|boekdatum|"
        "transactiedatum|datum transactie|started date|completed date|posted date|posting date|"
        "post date|booking date|date comptable|date comptabilisation|belegdatum|timestamp|"
        "datetime|date time|date val|date valeur|date de valeur|value date|valuta|valutadatum|"
        "wertstellung|"
        "wertstellungstag|fecha valor|data valuta|data valor|rentedatum"
    ),
    "time": "time|transaction time|heure|uhrzeit|zeit|hora|ora|tijd",
    "amount": (
        "amount|transaction amount|montant|montant operation|montant de l operation|betrag|umsatz|"
        "importe|cantidad|importo|valor|montante|bedrag|transactiebedrag|amt|value|sum|monto|"
        "gross|gross amount|brutto|net amount|net"
    ),
    "debit": (
        "debit|debit amount|paid out|money out|withdrawal|withdrawals|withdrawal amount|"
        "montant debit|soll|ausgaben|ausgang|belastung|cargo|cargos|debe|gasto|gastos|"
        "addebito|addebiti|dare|uscite|debito|debitos|saida|saidas|af|uitgaven|debet"
    ),
    "credit": (
        "credit|credit amount|paid in|money in|deposit|deposits|deposit amount|montant credit|"
        "haben|einnahmen|eingang|gutschrift|abono|abonos|haber|ingreso|ingresos|accredito|"
        "accrediti|avere|entrate|credito|creditos|entrada|entradas|bij|inkomsten"
    ),
    "type": (
        "transaction type|type|debit credit|credit debit|dr cr|cr dr|credit debit indicator|sens|"
        "type operation|soll haben|soll haben kennzeichen|s h|umsatzart|tipo|"
        "tipo de movimiento|tipo movimento|af bij|d c|debet credit|bij af"
    ),
    "currency": "currency|currency code|ccy|devise|monnaie|wahrung|waehrung|moneda|divisa|moeda|"
    "valuta|munt|muntsoort|iso currency code",
    "merchant": (
        "merchant|merchant name|payee|payee name|counterparty|counterparty name|partner name|"
        "commercant|marchand|tiers|beneficiaire|handler|empfanger|zahlungsempfanger|"
        "zahlungsempfanger in|auftraggeber|"
        "auftraggeber empfanger|beguenstigter|begunstigter|beguenstigter zahlungspflichtiger|"
        "name zahlungsbeteiligter|zahlungspflichtige r|beneficiary|comercio|beneficiario|"
        "establecimiento|esercente|controparte|comerciante|estabelecimento|tegenpartij|"
        "naam tegenpartij|naam omschrijving|winkel|name|nom|vendor|store|supplier|supplier found"
    ),
    "description": (
        "description|transaction description|details|transaction details|title|narrative|memo|"
        "particulars|libelle|libelle operation|libelle de l operation|intitule|"
        "verwendungszweck|buchungstext|beschreibung|text|concepto|descripcion|detalle|"
        "descrizione|descrizione operazione|causale|operazione|descricao|historico|titulo|"
        "omschrijving|omschrijving 1|mededelingen|"
        "mededeling|purpose|note|notes|informations|motif|kommentar|original description|"
        "payment reference|betreff|reference|referenz|referencia|riferimento|referentie"
    ),
    "label": (
        "label|category|categorie|kategorie|categoria|rubrique|rubrik|rubriek|category name|"
        "spending category|expense category|etiquette|etiqueta|etichetta"
    ),
    "account": (
        "account|account name|account number|account id|compte|numero de compte|konto|"
        "kontonummer|iban|cuenta|numero de cuenta|conto|conta|rekening|rekeningnummer|"
        "auftragskonto|card|card number|carte|karte"
    ),
    "channel": "channel|canal|kanal|canale|kanaal|payment method|method",
    "mcc": "mcc|mcc code|merchant category code",
}
FIELDS = tuple(NAMES)
# Income in a label column; such rows do not show how spending is written.
INCOME = _names(
    "income|other income|interest income|salary|paycheck|payroll|wages|deposit|gehalt|lohn|"
    "einkommen|einnahmen|salaire|revenus|revenu|salario|nomina|ingresos|stipendio|entrate|"
    "rendimento|salaris|loon|inkomen|inkomsten"
)
# Debits and credits in a type column.
OUT = _names("debit|dr|d|soll|s|out|debito|cargo|addebito|dare|af|debet|withdrawal|paid out")
IN = _names("credit|cr|c|haben|h|in|credito|abono|accredito|avere|bij|deposit|paid in")
# First words of a sum or a balance below the table.
TOTALS = _names(
    "total|totals|totale|totaal|totales|totais|summe|gesamt|saldo|solde|balance|endsaldo|"
    "kontostand|subtotal|somme|suma|closing|opening"
)
_MONEY = frozenset({"amount", "debit", "credit"})
_RANKS = {
    field: {name: rank for rank, name in enumerate(names.split("|"))}
    for field, names in NAMES.items()
}
_UNIT = re.compile(
    r" (?:in |en |em )?(?P<code>eur|usd|gbp|cad|aud|nzd|chf|sek|nok|dkk|pln|czk|huf|ron|bgn|brl|"
    r"mxn|jpy|cny|inr|sgd|hkd|zar|try|ils|krw|thb|aed|euros?|dollars?)$"
)


def normalize_name(name: str) -> str:
    """A column's name without case, accents and punctuation: `dateOp` becomes `date op`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("ß", "ss").replace("ø", "o"))
    bare = unicodedata.normalize("NFKD", spaced.casefold())
    letters = "".join(char for char in bare if not unicodedata.combining(char))
    return re.sub(r"[^a-z0-9€£$]+", " ", letters).strip()


def map_columns(header: Sequence[str], chosen: Mapping[str, str]) -> dict[str, int]:
    """The position of each field's column in a row of names; fields without a column are left out.

    Args:
        chosen: field to column, from the options; such a field is never inferred. An empty column
            leaves the field out.
    """
    exact = [name.strip() for name in header]
    names = [normalize_name(name) for name in header]
    positions: dict[str, int] = {}
    for field, column in chosen.items():
        if column and column in exact:
            positions[field] = exact.index(column)
        elif column and normalize_name(column) in names:
            positions[field] = names.index(normalize_name(column))
    taken = set(positions.values())
    for field, ranks in _RANKS.items():
        if field in chosen:
            continue
        candidates = [
            (ranks[name], position)
            for position, name in enumerate(map(_without_unit, names) if field in _MONEY else names)
            if name in ranks and position not in taken
        ]
        if candidates:
            positions[field] = min(candidates)[1]
            taken.add(positions[field])
    return positions


def validate_fields(chosen: Iterable[str]) -> None:
    """Refuse an unknown field.

    Raises:
        InvalidInput: the field is named, with those there are.
    """
    for field in chosen:
        if field not in FIELDS:
            raise InvalidInput(f"--map {field}=…: the fields are {', '.join(FIELDS)}")


def unit_in_name(name: str) -> str | None:
    """The currency in a column's name, such as `Amount (EUR)`."""
    match = _UNIT.search(normalize_name(name).replace("€", "eur").replace("£", "gbp"))
    if match is None:
        return None
    code = match["code"]
    return {"eur": "EUR", "dol": "USD"}.get(code[:3], code.upper())


def _without_unit(name: str) -> str:
    return _UNIT.sub("", name.replace("€", "eur").replace("£", "gbp").replace("$", "usd"))
