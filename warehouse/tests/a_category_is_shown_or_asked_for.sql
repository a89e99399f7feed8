-- Each suggestion either names a category or asks.
select suggestion_id
from {{ ref('stg_suggestion_events') }}
where (label is null) <> (source = 'none')
