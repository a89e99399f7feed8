"""Collectors: payment services and kinds of payment that stand where the shop's name should.

`PayPal`, `Klarna` or `card payment` say how somebody paid. Which shop it was, only the description
can say.
"""

from __future__ import annotations

from shared.text.cache import cached


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SERVICES = _words(
    "paypal pypl klarna sumup zettle izettle stripe square sq adyen mollie worldpay payu payoneer"
    " skrill neteller paysafe paysafecard sofort giropay paydirekt afterpay clearpay affirm sezzle"
    " scalapay ratepay billpay venmo zelle cashapp alipay wechatpay gpay paytm phonepe bizum twint"
    " vipps swish mobilepay ideal bancontact payconiq blik trustly gocardless pagseguro mercadopago"
    " pix braintree 2checkout fastspring tenpay unionpay gopay mpesa 支付宝 微信支付 财付通 银联"
)
_SERVICES_OF_TWO_WORDS = _words(
    "apple_pay google_pay samsung_pay amazon_pay shop_pay cash_app wechat_pay weixin_pay"
    " mercado_pago m_pesa click_to"
)
_KINDS = _words(
    "payment payments purchase purchases transaction transactions transfer transfers debit xfer"
    " kartenzahlung lastschrift ueberweisung uberweisung girocard paiement achat prelevement"
    " virement compra pago transferencia recibo pagamento acquisto bonifico addebito betaling"
    " pinbetaling betaalautomaat incasso overboeking"
)
_OTHERS = _words(
    "card credit direct pos visa mastercard maestro bank online contactless instant inst wallet pay"
    " checkout service services europe uk us de et cie sarl a l s r sca inc ltd limited gmbh ab co"
    " bv sepa par carte bancaire con tarjeta carta to from the of and by"
)


@cached(4_096)
def is_collector(merchant: str) -> bool:
    """Whether a cleaned merchant names a payment service or a kind of payment, and no shop."""
    words = merchant.split()
    for services, count in ((_SERVICES, 1), (_SERVICES_OF_TWO_WORDS, 2)):
        if "_".join(words[:count]) in services:
            return _name_no_shop(words[count:])
    return _name_no_shop(words) and not _KINDS.isdisjoint(words)


def _name_no_shop(words: list[str]) -> bool:
    return all(word in _KINDS or word in _OTHERS for word in words)
