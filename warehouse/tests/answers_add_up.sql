-- No answer is counted twice, and none to nothing.
select *
from {{ ref('kpi_suggestions_daily') }}
where
    suggestions <> shown + asked
    or accepted + corrected + rejected > shown
