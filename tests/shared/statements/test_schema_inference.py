"""How dates, signs, amounts and ids are inferred from a sample."""

from __future__ import annotations

from pathlib import Path

from tests.shared.statements.tables import amounts, dates, read, table_of


def test_ambiguous_dates_are_read_by_currency_and_reported_as_assumed(tmp_path: Path) -> None:
    american = table_of(tmp_path, "date,amount,currency\n01/02/2026,5.00,USD\n")
    assert dates(american) == ["2026-01-02"]
    assert any("mm/dd/yyyy (assumed" in fact for fact in american.detected)

    other = table_of(tmp_path, "date,amount,currency\n01/02/2026,5.00,EUR\n")
    assert dates(other) == ["2026-02-01"]

    table = table_of(tmp_path, "date,amount\n01/02/2026,5.00\n", date_format="mm/dd/yyyy")
    assert dates(table) == ["2026-01-02"]


def test_date_in_another_format_than_the_sample_is_refused(tmp_path: Path) -> None:
    table = table_of(tmp_path, "date;amount\n13/05/2026;5\n14/05/2026;5\n2024-13-05;5\n;5\n")
    assert dates(table)[2:] == ["date '2024-13-05': expected dd/mm/yyyy", "no date"]


def test_midnight_in_every_row_is_no_time_of_day(tmp_path: Path) -> None:
    table = table_of(tmp_path, "date,amount\n2026-01-02T00:00:00,5\n2026-01-03T00:00:00,5\n")
    assert [row["hour_of_day"] for row in read(table) if isinstance(row, dict)] == ["\\N"] * 2


def test_sign_is_inferred_and_its_reason_reported(tmp_path: Path) -> None:
    spend = table_of(tmp_path, "date,amount\n2026-01-02,5.00\n2026-01-03,6\n2026-01-04,-7\n")
    assert amounts(spend) == ["-5.00", "-6", "7"]
    assert any("spend-positive (2 of the first 3" in fact for fact in spend.detected)

    signed = table_of(tmp_path, "date,amount\n2026-01-02,-5\n2026-01-03,-6\n2026-01-04,7\n")
    assert amounts(signed) == ["-5", "-6", "7"]
    assert any("spend-negative (2 of the first 3" in fact for fact in signed.detected)

    table = table_of(tmp_path, "date,amount\n2026-01-02,5\n", sign="spend-negative")
    assert amounts(table) == ["5"]


def test_labelled_income_or_a_plus_does_not_sway_the_sign(tmp_path: Path) -> None:
    head = "date,amount,merchant,label\n2026-01-02,900,a,Salary\n2026-01-02,9,b,Income\n"
    assert amounts(table_of(tmp_path, head + "2026-01-02,-5,c,Food\n")) == ["900", "9", "-5"]

    plus = table_of(tmp_path, 'date;amount\n02.01.2026;"+5,00"\n02.01.2026;+6,00\n02.01.2026;-7\n')
    assert amounts(plus) == ["5.00", "6.00", "-7"]
    assert any("written with a plus" in fact for fact in plus.detected)


def test_type_column_decides_the_sign(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, "date,amount,type\n2026-01-02,5,debit\n2026-01-03,6,Credit\n2026-01-04,-7,DEBIT\n"
    )
    assert amounts(table) == ["-5", "6", "-7"]


def test_debit_and_credit_columns_make_one_amount(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        "Date,Description,Debit,Credit\n2026-01-02,a,12.50,\n2026-01-02,b,,\"1,000.00\"\n"
        "2026-01-02,c,0.00,5\n2026-01-02,d,,\n2026-01-02,e,1,2\n",
    )  # fmt: skip
    assert amounts(table) == ["-12.50", "1000.00", "5", "no amount", "both a debit and a credit"]

    french = table_of(
        tmp_path, "Date;Débit;Crédit;Tiers\n2026-01-02;-12,50;;a\n2026-01-02;;3,00;b\n"
    )
    assert amounts(french) == ["-12.50", "3.00"]


def test_card_statement_that_marks_only_credits_is_negated(tmp_path: Path) -> None:
    table = table_of(tmp_path, "date,amount\n2026-01-02,12.50\n2026-01-03,3.00 CR\n")
    assert amounts(table) == ["-12.50", "3.00"]


def test_id_column_is_used_only_if_its_values_are_ids(tmp_path: Path) -> None:
    def ids(content: str, **options: object) -> bool:
        return "external_id" in table_of(tmp_path, content, **options).schema.columns

    assert ids("txn_id,date,amount,merchant\na,2026-01-02,5,x\nb,2026-01-02,5,x\n")
    assert not ids("txn_id,date,amount,merchant\na,2026-01-02,5,x\n" + ",2026-01-02,5,x\n" * 2)
    assert ids("id,date,amount,merchant\n77,2026-01-02,5,x\n93,2026-01-02,5,x\n")
    # The next file's rows would be 1 and 2 as well.
    assert not ids("id,date,amount,merchant\n1,2026-01-02,5,x\n2,2026-01-02,5,x\n")
    # What one bank calls a reference is unique, another's is a text.
    references = "date,amount,merchant,reference\n2026-01-02,5,x,a\n2026-01-02,5,x,b\n"
    assert not ids(references)
    assert ids(references, columns={"id": "reference"})


def test_row_without_an_id_is_refused_if_the_others_have_one(tmp_path: Path) -> None:
    content = "txn_id,date,amount,merchant\na,2026-01-02,5,x\n,2026-01-02,5,x\n"
    assert read(table_of(tmp_path, content))[1] == "no txn_id"
