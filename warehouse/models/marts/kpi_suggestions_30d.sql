-- Of each arm, over the last 30 days.
select
    arm,
    count(distinct user_id) as users,
    {{ answered_counts() }}
from {{ ref('fct_suggestions_eval') }}
where suggested_on > current_date - 30
group by 1
