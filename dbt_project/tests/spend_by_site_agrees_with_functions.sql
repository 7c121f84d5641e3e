-- The same calls summed up twice: by the site they were made for, and by the model that was asked.
{{ config(meta={'dagster': {'ref': {'name': 'spend_by_site'}}}) }}

with sites as (
    select
        day,
        "function",
        sum(calls) as calls,
        sum(spent) as spent
    from {{ ref('spend_by_site') }}
    group by all
),

functions as (
    select
        day,
        "function",
        sum(calls) as calls,
        sum(spent) as spent
    from {{ ref('spend_by_function') }}
    where product = 'content'
    group by all
)

select *
from sites
full join functions using (day, "function")
where
    sites.calls is distinct from functions.calls
    or sites.spent is distinct from functions.spent
