-- From the ledger: the rows of the tables repeat what their question cost, as often as it had rows.
select
    day,
    coalesce(
        substr(list_filter(scope_names, lambda scope: starts_with(scope, 'site:'))[1], length('site:') + 1), '(none)'
    ) as site_id,
    "function",
    count(*) filter (was_sent) as calls,
    count(*) filter (is_hit) as hits,
    (coalesce(sum(tokens_in), 0) + coalesce(sum(tokens_out), 0))::bigint as tokens,
    sum(images)::bigint as images,
    sum(credits)::bigint as credits,
    sum(cost_usd)::decimal(38, 9) as spent,
    sum(saved_usd)::decimal(38, 9) as saved,
    count(*) filter (has_failed) as failures
from {{ ref('counted_calls') }}
where product = 'content'
group by all
order by day, site_id, "function"
