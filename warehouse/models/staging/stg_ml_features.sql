-- Features as they were built last; the cleaned merchant, and no description.
select
    features.txn_id,
    features.user_id,
    features.ts_month,
    features.date,
    features.amount,
    features.abs_amount,
    features.currency,
    features.merchant,
    features.channel,
    features.dow,
    features.is_weekend,
    features.hour_of_day,
    features.is_subscription,
    features.is_p2p,
    features.mcc,
    features.built_at
from {{ source('service', 'ml_features') }} as features
inner join {{ ref('stg_transactions') }} as transactions using (txn_id)
