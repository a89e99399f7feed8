{% macro answered_counts() %}
    count(*) as suggestions,
    count(*) filter (where is_shown) as shown,
    count(*) filter (where not is_shown) as asked,
    count(*) filter (where is_shown and answer = 'accept') as accepted,
    count(*) filter (where is_shown and answer = 'correct') as corrected,
    count(*) filter (where is_shown and answer = 'reject') as rejected,
    count(*) filter (where is_shown)::numeric / count(*) as coverage,
    count(*) filter (where is_shown and answer = 'accept')::numeric
    / nullif(count(*) filter (where is_shown and is_answered), 0) as acceptance
{% endmacro %}
