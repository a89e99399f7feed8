"""The vocabulary of `normalize`: what banks, card processors and addresses add to a shop's name.

All of it is written as `fold` leaves text: lower case, no accents.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(phrase.strip() for phrase in text.split(","))


# What a bank prints before the shop. Kinds of money movement (transfer, withdrawal, salary) are
# no prefix: there they are all that is known.
BANK_PREFIX = r"""
    pos (?:\s (?:purchase|debit|transaction|w/d|db|refund|merchandise|auth))?
  | (?:authori[sz]ed|recurring|debit|credit|card|check\s?card|point\sof\ssale|contactless|online)
    \s (?:card\s)? (?:purchase|payment|transaction|txn) (?:\s authori[sz]ed)? (?:\s (?:to|at|on))?
  | purchase (?:\s authori[sz]ed)? (?:\s (?:at|on|from))? | contactless | check\s?card | dbt\scrd
  | (?:visa|mastercard|maestro|mc) (?:\s (?:debit|credit|purchase|card|paypass|electron))+
  | interac (?:\s (?:purchase|retail|flash|debit|rtl))+ | idp\spurchase | fpos | eftpos
  | direct\sdebit (?:\s payment)? (?:\s to)? | bill\spayment (?:\s to)? | pymt\sto | card\spmt
  | pre-?authori[sz]ed\s (?:debit|payment)
  | (?:ec-?|giro)? kartenzahlung | girocard | (?:sepa[\s-])? (?:basis|folge|erst)?lastschrift
    (?:\s einzug)? | lastschrifteinzug | sepa\sdirect\sdebit | kauf(?:umsatz)? | kreditkarte
  | (?:paiement|achat|facture)\s (?:par\s)? (?:carte|cb|psc|internet)
    (?:\s (?:bancaire|bleue|du|le))? | cb | carte\sbancaire | (?:prlv|prelevement) (?:\s sepa)?
    (?:\s (?:europeen|de))?
  | (?:compra|pago) (?:\s (?:con|en|de))? (?:\s (?:tarjeta|tarj|tpv|comercio|internet|no|deb))+
    \.? (?:\s en)? | compra | compras | recibo | adeudo (?:\s recibo)?
  | (?:pagamento|acquisto|pag) (?:\s (?:con|tramite|mediante|su))?
    (?:\s (?:carta|pos|bancomat|pagobancomat))+ | addebito (?:\s (?:sdd|diretto|carta))?
  | compra\s (?:cartao|no\sdebito|debito|credito) | pagamento\s (?:cartao|de\scompra)
  | betaalautomaat | pinbetaling | bea | betaalpas | (?:europese\s)? incasso (?:\s algemeen)?
"""

# Card processors and marketplaces that print themselves before the shop, with a star or the like.
PROCESSOR_PREFIX = r"""
    (?:sq|gosq\.com|tst|sp|ssp|pp|py|pypl|paypal|sumup|i?zettle|iz|cke|chk|wpy|wp|wav|mol|mollie
      |stripe|str|clv|clover|toast|fs|fsp|eb|evb|ls|tca|act|dnh|in|ic|bb|ck|crv|gpay|dd|sqc|nyx
      |payu|pay|2co|2checkout|paddle(?:\.net)?|paddle\.com|klarna|adyen|worldpay|sagepay|sbi|yoco
      |ikh|nic|lp|pos|vend|zlr|zip|afterpay|shop|shopify|mp|mercadopago|pagseguro|pag|ebn|cbi|dri
      |bol|ccbill|epc|xsolla|digitalriver|fastspring) \s* [*_] \s*
  | (?:sq|tst|iz) \s+ (?=[^\W\d_]{2})
  | sp \s{2,}
  | sumup \s+ | i?zettle \s+
  | paypal \s+ (?!\s*(?:friends|family|transfer|inst|instant|payment|credit|pending|fee|europe
      |money|withdrawal|des|pte|balance|card|\*)) (?=\w{3})
"""

# Printed in many ways, one shop. In order; a match stands for all that it spans.
ALIASES: tuple[tuple[str, str], ...] = (
    (r"(?:amzn|amazon)\b.{0,6}?\b(?:mktp|marketp)\w* eu\b.*", "amazon marketplace eu"),
    (r"(?:amzn|amazon)\b.{0,6}?\b(?:mktp|marketp).*", "amazon marketplace"),
    (r"(?:amzn|amazon)(?:\.com|\.ca|\.co\.uk)?\W{0,3}prime now\b.*", "amazon prime now"),
    (r"(?:amzn|amazon)(?:\.com|\.ca|\.co\.uk)?\W{0,3}prime.*", "amazon prime"),
    (r"(?:amzn|amazon)\W{0,3}(?:digital|kindle).*", "amazon digital"),
    (r"(?:amazon\W{1,3}web\W{1,3}serv|aws\.amazon).*", "amazon web services"),
    (r"amazon\.(?:com?|co\.uk|[a-z]{2})[ *].*", "amazon"),
    (r"amzn(?:\.com)?(?:/bill)?\b", "amazon"),
    (r"uber\W*eats?\b.*|uber\W.*\beats\b.*", "uber eats"),
    (r"uber\W*trip\b.*|uber\W.*\btrip\b.*", "uber trip"),
    (r"uber\W*(?:one|pass)\b.*", "uber one"),
    (r"uber\W.*\bhelp\b.*|uber\W+(?:pending|\*).*", "uber"),
    (r"lyft\W+(?:\*|ride).*", "lyft"),
    (r"(?:facebk|facebook|fb\.me/ads)\W*(?:[a-z0-9]{9}2|ads?\b.*)?$", "facebook"),
    (r"google\W*(?:adws|ads|adwords)\d*\b.*", "google ads"),
    (r"(?:wal-mart|wal mart|wm supercenter)\b", "walmart"),
    (r"(?:7[- ]?eleven|7[-/]11|seven[ -]eleven)\b", "7 eleven"),
    (r"h ?& ?m\b", "h&m"),
    (r"1[- ]?800[- ]?flowers\b", "1800flowers"),
)

LEGAL_FORMS = _words(
    "inc incorporated llc llp lp ltd limited limite limit ltda corp corporation co company gmbh mbh"
    " ag kg ug ohg ev sa sas sarl sasu eurl srl srls spa bv nv vof plc oy oyj ab as aps pty pte"
    " sl slu sro kft doo zoo lda eireli bvba sprl"
)

REFERENCE_WORDS = (
    "ref reference auth aut inv invoice trace txn trx confirmation conf approval terminal order"
    " beleg belegnr rgnr kdnr kundennr rechnung mandat mref eref kref iban folio factura facture"
    " operacion bestellung trans transaction"
)

STORE_WORDS = _words(
    "store stores shop unit no nr num filiale fil magasin mag location loc branch tienda suc"
    " sucursal negozio loja filiaal winkel str stn terminal apt ste suite"
)

# Words that cannot end a name; and after which a city belongs to the name: `city of toronto`.
CONNECTORS = _words(
    "of at in on and the & de du des la le les von der die das del di da do van het et und y e to"
    " for from a an im am en bei auf"
)

# Abbreviations and names of months, whole: `marriott 12` is no date.
MONTHS = (
    "jan(?:uary|uar|vier)?|janv|feb(?:ruary|ruar)?|fev(?:rier)?|mar(?:ch|s|zo|z)?|maerz|apr(?:il)?"
    "|avr(?:il)?|abr(?:il)?|may|mai|mei|mayo|jun(?:e|i|io)?|juin|jul(?:y|i|io)?|juil(?:let)?"
    "|aug(?:ust)?|aou|aout|ago(?:sto)?|sep(?:t|tember|tembre|tiembre)?|set|oct(?:ober|obre|ubre)?"
    "|okt(?:ober)?|out|ott(?:obre)?|nov(?:ember|embre|iembre)?|dec(?:ember|embre)?|dez(?:ember)?"
    "|dic(?:iembre|embre)?|ene(?:ro)?|gen(?:naio)?|giu(?:gno)?|lug(?:lio)?"
)

TOP_LEVEL_DOMAINS = (
    "com|co|ca|org|net|uk|de|fr|es|it|nl|be|ch|at|eu|us|io|app|info|biz|shop|tv|me|gov|edu|ac|ie"
    "|pt|se|no|dk|fi|pl|au|nz|jp|br|mx|in|ai|cz|gr|ro|hu"
)

# States, provinces and countries that end a line and are hardly ever a word.
REGIONS = _words(
    "ny tx fl nj nc sc va tn mn wi wa az nv ut ky ks ia ar ct nh vt ri md dc wv nd sd nm mt wy oh"
    " il ga mi bc ab mb sk ns nb qc ca usa can gbr gb uk deu fra esp ita nld che aut aus bel irl"
    " prt lux swe nor dnk fin pol fr nl dk pl lu nsw vic qld"
)
# The same, but also common words: they go only after a city or a store number.
AMBIGUOUS_REGIONS = _words(
    "us on in or me hi ok la pa ma mo al ak de id ms ne co pe yt nt nu es it be ch at ie pt se no"
    " fi au nz jp mx br si gr tr hu cz sa act tas"
)

CITIES = _phrases(
    "toronto, ottawa, montreal, vancouver, calgary, edmonton, winnipeg, mississauga, brampton,"
    "hamilton, etobicoke, scarborough, north york, markham, vaughan, oakville, burlington, london,"
    "kitchener, halifax, quebec, laval, gatineau, saskatoon, regina, surrey, burnaby,"
    "richmond hill,"
    "new york, brooklyn, los angeles, chicago, houston, phoenix, philadelphia, san antonio,"
    "san diego, dallas, san jose, austin, jacksonville, columbus, charlotte, san francisco,"
    "indianapolis, seattle, denver, boston, el paso, nashville, detroit, oklahoma city, portland,"
    "las vegas, memphis, louisville, baltimore, milwaukee, albuquerque, tucson, fresno, sacramento,"
    "kansas city, atlanta, omaha, oakland, minneapolis, tulsa, tampa, new orleans, cleveland,"
    "miami,"
    "pittsburgh, cincinnati, orlando, st louis, san mateo, palo alto, salt lake city,"
    "birmingham, manchester, liverpool, leeds, sheffield, bristol, glasgow, edinburgh, cardiff,"
    "belfast, leicester, coventry, nottingham, newcastle, southampton, brighton, dublin, solihull,"
    "wolverhampton, west bromwich,"
    "berlin, hamburg, munchen, munich, muenchen, koln, koeln, cologne, frankfurt, stuttgart,"
    "dusseldorf, duesseldorf, dortmund, essen, leipzig, dresden, hannover, nurnberg, nuernberg,"
    "bremen, wien, vienna, graz, salzburg, zurich, zuerich, geneve, genf, basel, bern, lausanne,"
    "paris, marseille, lyon, toulouse, nantes, strasbourg, bordeaux, lille, rennes, montpellier,"
    "bruxelles, brussel, antwerpen, amsterdam, rotterdam, utrecht, den haag, eindhoven,"
    "madrid, barcelona, valencia, sevilla, zaragoza, malaga, bilbao, lisboa, lisbon, porto,"
    "roma, milano, napoli, torino, bologna, firenze, venezia, palermo,"
    "stockholm, goteborg, oslo, kobenhavn, helsinki, warszawa, krakow, praha, budapest, athens,"
    "sydney, melbourne, brisbane, perth, adelaide, auckland, wellington, singapore, hong kong,"
    "tokyo, osaka, seoul, mumbai, delhi, bangalore, bengaluru, istanbul, dubai, tel aviv,"
    "sao paulo, rio de janeiro, mexico city, buenos aires, bogota, santiago, lima"
)
