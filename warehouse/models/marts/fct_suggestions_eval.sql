-- Each suggestion beside what the transaction turned out to be: what a person answered, else what a
-- person labelled it.
with judged as (
    select
        events.*,
        case
            when events.answer in ('accept', 'correct') then events.answer_label
            when labels.source = 'human' then labels.label
        end as truth
    from {{ ref('stg_suggestion_events') }} as events
    left join {{ ref('stg_transaction_labels') }} as labels using (txn_id)
)

select
    suggestion_id,
    user_id,
    txn_id,
    suggested_on,
    arm,
    source,
    layer,
    model_version,
    label,
    confidence,
    answer,
    truth,
    label is not null as is_shown,
    answer is not null as is_answered,
    coalesce(answer = 'accept', false) as is_accepted,
    case when label is not null then label = truth end as is_right,
    rules_label = truth as rules_right,
    model_label = truth as model_right
from judged
