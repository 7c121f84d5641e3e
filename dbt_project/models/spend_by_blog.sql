-- From the ledger: what rows of the tables cost says nothing of when it was paid, nor of answers that were thrown away.
select
    day,
    coalesce(
        substr(list_filter(scope_names, lambda scope: starts_with(scope, 'blog:'))[1], length('blog:') + 1), '(none)'
    ) as blog,
    "function",
    count(*) filter (was_sent) as calls,
    count(*) filter (is_hit) as hits,
    (coalesce(sum(tokens_in), 0) + coalesce(sum(tokens_out), 0))::bigint as tokens,
    sum(cost_usd)::decimal(38, 9) as spent,
    sum(saved_usd)::decimal(38, 9) as saved,
    count(*) filter (has_failed) as failures
from {{ ref('counted_calls') }}
where product = 'persona'
group by all
order by day, blog, "function"
