-- Suggestions with the answer that stands; what the caller forced is no evidence, and is left out.
select
    suggestions.id as suggestion_id,
    suggestions.user_id,
    suggestions.txn_id,
    suggestions.merchant,
    suggestions.label,
    suggestions.confidence,
    suggestions.source,
    suggestions.layer,
    suggestions.arm,
    suggestions.model_version,
    suggestions.rules_label,
    suggestions.model_label,
    suggestions.answer,
    suggestions.answer_label,
    suggestions.answered_at,
    suggestions.created_at,
    suggestions.created_at::date as suggested_on
from {{ source('service', 'suggestions') }} as suggestions
left join {{ ref('stg_transactions') }} as transactions using (txn_id)
where
    not suggestions.forced
    and (suggestions.txn_id is null or transactions.txn_id is not null)
