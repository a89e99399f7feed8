"""The vocabulary of `channel_hints`, in several languages, written as `fold` leaves text.

Only phrases that mean money movement: `course fee` is bought in a shop, `late fee` is not.
"""

from __future__ import annotations


def _phrases(text: str) -> frozenset[str]:
    return frozenset(phrase.strip() for phrase in text.split(","))


# By priority: of the channels that a line mentions, it gets the first.
CHANNEL_PHRASES: dict[str, frozenset[str]] = {
    "p2p": _phrases(
        "zelle, venmo, cash app, cashapp, apple cash, bizum, tikkie, paylib, wero, vipps,"
        "twint, satispay, swish betalning, swish payment, swish overforing, mobilepay, mb way,"
        "mbway, payconiq, lydia app, popmoney, payid, osko, transferwise, wise transfer,"
        "wise payments, wise europe, revolut transfer, to revolut, from revolut, revolut p2p,"
        "monzo me, interac e transfer, interac etransfer, e transfer, etransfer, e tfr, e trf,"
        "interac etrnsfr, etrnsfr, virement interac, email transfer, email money transfer,"
        "paypal friends, friends and family, freunde und familie, amigos y familiares,"
        "entre proches, person to person, p2p, facebook pay, google pay send, upi, paytm, gcash,"
        "pix enviado, pix recebido, pix transf, pix qr, transferencia pix, transf pix"
    ),
    "fee": _phrases(
        "monthly fee, annual fee, atm fee, abm fee, service fee, overdraft fee, late fee, nsf fee,"
        "bank fee, bank fees, account fee, maintenance fee, wire fee, transaction fee,"
        "transfer fee, cash advance fee, non sterling fee, foreign transaction fee,"
        "exchange fee, card fee,"
        "plan fee, service charge, service charges, bank charge, bank charges, account charge,"
        "overdraft charge, finance charge, frais bancaires, frais de gestion, frais de tenue,"
        "frais mensuels, frais d intervention, cotisation carte, commission d intervention, agios,"
        "kontofuhrung, kontofuehrung, kontofuhrungsgebuhr, entgeltabschluss, bankgebuhren,"
        "auslandseinsatzentgelt, jahresgebuhr, comision mantenimiento, comision de, comisiones,"
        "commissioni, commissione su, canone conto, imposta di bollo, comissao, anuidade,"
        "bankkosten, kosten rekening, kosten basispakket"
    ),
    "interest": _phrases(
        "interest paid, interest charge, interest charged, interest charges, interest earned,"
        "interest payment, interest credit, gross interest, net interest, credit interest,"
        "debit interest, purchase interest, loan interest, zinsen, habenzinsen, sollzinsen,"
        "interets, interets crediteurs, interets debiteurs, intereses, interessi, juros,"
        "creditrente, debetrente, spaarrente"
    ),
    "atm": _phrases(
        "atm, abm, cash withdrawal, cash advance, cash machine, cashpoint, withdrawal,"
        "geldautomat, bargeldauszahlung, barauszahlung, bargeldabhebung, retrait, retrait dab,"
        "cajero, retirada de efectivo, retiro, disposicion efectivo, prelievo, prelevamento,"
        "levantamento, saque, geldautomaat, geldopname"
    ),
    "check": _phrases(
        "cheque, cheques, check no, check paid, check number, check deposit, paid check,"
        "returned check, mobile check, scheck, scheckeinreichung, assegno, assegni, remise cheque"
    ),
    "deposit": _phrases(
        "deposit, deposits, payroll, salary, wages, dir dep, direct dep, gehalt, lohn, bezuge,"
        "gutschrift, salaire, paie, nomina, ingreso, stipendio, accredito, emolumenti, salario,"
        "deposito, salaris, storting, bijschrijving, pension, rente drv, bank giro credit"
    ),
    "direct_debit": _phrases(
        "direct debit, lastschrift, sepa lastschrift, basislastschrift, folgelastschrift, einzug,"
        "prelevement, prlv, recibo, domiciliacion, adeudo, addebito diretto, addebito sdd, sdd,"
        "debito direto, incasso, domiciliering, pre authorized debit, preauthorized debit,"
        "pre authorised debit, autopay, auto pay, ach debit, standing order, dauerauftrag,"
        "virement permanent, periodieke overboeking"
    ),
    "transfer": _phrases(
        "transfer, transfers, tfr, trf, trsf, xfer, wire, faster payment, faster payments, ach,"
        "sepa credit, sepa uberweisung, sepa ueberweisung, virement, vir, uberweisung,"
        "ueberweisung, umbuchung, echtzeituberweisung, transferencia, traspaso, bonifico,"
        "giroconto, overboeking, overschrijving, credit card payment, bill payment, bpay"
    ),
    "online": _phrases(
        "online, web, internet, ecommerce, e commerce, www, com, co uk, org uk, paypal, ebay, etsy,"
        "shopify, amazon, amzn, en ligne, en linea, onlinekauf, on line, itunes, google,"
        "facebk, facebook,"
        "linkedin, netflix, spotify, aliexpress, temu, shein, zalando, klarna, uber, lyft, expedia,"
        "airbnb, booking com, steam, microsoft, adobe"
    ),
}

RECURRING = _phrases(
    "subscription, subscriptions, membership, memberships, monthly fee, monthly premium, recurring,"
    "standing order, insurance premium, premium insurance, gym, fitness, crossfit, abonnement,"
    "abonnements, abo, mitgliedschaft, mitgliedsbeitrag, monatsbeitrag, dauerauftrag,"
    "versicherungsbeitrag, virement permanent, cotisation, prime assurance, salle de sport,"
    "suscripcion, cuota mensual, gimnasio, prima seguro, abbonamento, palestra,"
    "premio assicurativo, canone mensile, assinatura, mensalidade, ginasio, premio seguro,"
    "lidmaatschap, contributie, sportschool, verzekeringspremie, periodieke overboeking,"
    "netflix, spotify, hulu, disney plus, disneyplus, hbo max, hbomax, paramount plus,"
    "youtube premium, youtubepremium, youtube tv, youtube music, apple music, apple tv,"
    "apple com bill, apple bill, itunes com bill, itunes bill, audible, icloud, dropbox, adobe,"
    "microsoft 365, office 365, github, patreon, substack, nytimes, new york times, crunchyroll,"
    "dazn, deezer, tidal, game pass, playstation plus, nintendo online, amazon prime,"
    "amzn prime, prime video, prime member, google one, google storage, uber one, linkedin premium,"
    "canva, zoom us, zoho, mailchimp, surveymonkey, openai, chatgpt, nordvpn, expressvpn, lastpass,"
    "squarespace, wix com, shutterstock, siriusxm, sirius xm, planet fitness, basic fit, mcfit,"
    "puregym, anytime fitness, strava, headspace, calm com, duolingo, hellofresh, now tv, viaplay,"
    "canal plus, canalplus, tv licence, tvlicensing, tvlicensing co uk"
)

# Names of channels that a caller may use.
CHANNEL_NAMES: dict[str, frozenset[str]] = {
    "pos": _phrases(
        "pos, point of sale, card, card payment, card purchase, debit, debit card, credit,"
        "credit card, visa, mastercard, maestro, in store, instore, store, purchase, contactless,"
        "nfc, chip, swipe, pin, interac, retail, karte, kartenzahlung, carte, tarjeta, carta,"
        "cartao"
    ),
    "online": _phrases(
        "online, web, internet, ecommerce, e commerce, ecom, app, mobile, paypal, website,"
        "card not present, cnp, mail order, en ligne, en linea"
    ),
    "atm": _phrases(
        "atm, abm, cash, cash withdrawal, withdrawal, cashpoint, cash machine, geldautomat,"
        "retrait, cajero, prelievo, bancomat, saque, geldautomaat"
    ),
    "transfer": _phrases(
        "transfer, bank transfer, wire, wire transfer, ach, sepa, tfr, xfer, payment, bill payment,"
        "bill pay, faster payment, bank, virement, uberweisung, transferencia, bonifico,"
        "overschrijving, giro"
    ),
    "p2p": _phrases(
        "p2p, person to person, peer to peer, zelle, venmo, e transfer, etransfer,"
        "interac e transfer, cash app, apple cash, bizum, pix, wise, revolut, swish, tikkie, twint,"
        "upi"
    ),
    "direct_debit": _phrases(
        "direct debit, directdebit, dd, lastschrift, prelevement, sdd, standing order,"
        "dauerauftrag, domiciliacion, recibo, incasso, pad, autopay, recurring"
    ),
    "deposit": _phrases(
        "deposit, direct deposit, cash deposit, payroll, salary, credit transfer, income,"
        "gutschrift, ingreso, deposito"
    ),
    "check": _phrases("check, cheque, chq, scheck, assegno"),
    "fee": _phrases("fee, fees, charge, bank fee, service charge, frais, gebuhr, comision"),
    "interest": _phrases("interest, zinsen, interets, intereses, interessi, juros, rente"),
    "other": _phrases("other, misc"),
    "unknown": _phrases("unknown, none, n a, na, null"),
}
