-- A label that is older than its transaction would be of another one.
select labels.txn_id
from {{ ref('stg_transaction_labels') }} as labels
inner join {{ ref('stg_transactions') }} as transactions using (txn_id)
where labels.updated_at < transactions.created_at
