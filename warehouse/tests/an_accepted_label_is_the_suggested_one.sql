select suggestion_id
from {{ ref('stg_suggestion_events') }}
where answer = 'accept' and answer_label is distinct from label
