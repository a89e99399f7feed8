-- Of each day, arm, source and version: what was shown, and what people said to it.
select
    suggested_on,
    arm,
    source,
    coalesce(model_version, '') as model_version,
    {{ answered_counts() }}
from {{ ref('fct_suggestions_eval') }}
group by 1, 2, 3, 4
