-- Transactions that are not deleted, without what people wrote into them.
select
    id as txn_id,
    user_id,
    date,
    amount,
    abs(amount) as abs_amount,
    case when amount < 0 then 'out' when amount > 0 then 'in' else 'none' end as direction,
    currency,
    channel,
    account,
    created_at
from {{ source('service', 'transactions') }}
where deleted_at is null
