-- What a training run learns from: labelled transactions with their features.
select
    features.*,
    labels.label,
    labels.source as label_source,
    labels.updated_at as labelled_at
from {{ ref('stg_ml_features') }} as features
inner join {{ ref('stg_transaction_labels') }} as labels using (txn_id)
