-- Each merchant, the category that people give it most often, and how sure that is.
with labelled as (
    select features.merchant, labels.label, count(*) as times
    from {{ ref('stg_ml_features') }} as features
    inner join {{ ref('stg_transaction_labels') }} as labels using (txn_id)
    where features.merchant <> '' and labels.source <> 'rule'
    group by 1, 2
),

usual as (
    select distinct on (merchant)
        merchant,
        label as usual_label,
        times as usual_times,
        sum(times) over (partition by merchant) as labelled
    from labelled
    order by merchant, times desc, label
),

seen as (
    select
        merchant,
        count(*) as transactions,
        count(distinct nullif(user_id, '')) as users,
        min(date) as first_seen,
        max(date) as last_seen,
        avg(abs_amount) as mean_abs_amount
    from {{ ref('stg_ml_features') }}
    where merchant <> ''
    group by 1
)

select
    seen.*,
    coalesce(usual.labelled, 0)::bigint as labelled,
    usual.usual_label,
    usual.usual_times::numeric / usual.labelled as usual_share,
    case
        when usual.labelled is null then 'none'
        when usual.labelled >= 3 and usual.usual_times >= 0.9 * usual.labelled then 'high'
        when usual.usual_times >= 0.6 * usual.labelled then 'medium'
        else 'low'
    end as certainty
from seen
left join usual using (merchant)
