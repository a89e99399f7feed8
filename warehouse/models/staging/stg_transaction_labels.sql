select
    labels.txn_id,
    labels.label,
    labels.source,
    labels.created_at,
    labels.updated_at
from {{ source('service', 'transaction_labels') }} as labels
inner join {{ ref('stg_transactions') }} as transactions using (txn_id)
