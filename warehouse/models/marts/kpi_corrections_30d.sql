-- What was suggested and what people said instead, over the last 30 days.
select
    label as suggested,
    truth as corrected_to,
    count(*) as corrections
from {{ ref('fct_suggestions_eval') }}
where answer = 'correct' and label is not null and suggested_on > current_date - 30
group by 1, 2
