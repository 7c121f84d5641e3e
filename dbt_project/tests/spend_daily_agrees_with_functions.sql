-- The same calls summed up twice: by the scopes they count for, and by what was asked.
{{ config(meta={'dagster': {'ref': {'name': 'spend_daily'}}}) }}

with functions as (
    select
        day,
        sum(calls) as calls,
        sum(hits) as hits,
        sum(spent) as spent
    from {{ ref('spend_by_function') }}
    group by all
)

select *
from (select * from {{ ref('spend_daily') }} where scope = 'all') as whole
full join functions using (day)
where
    whole.calls is distinct from functions.calls
    or whole.hits is distinct from functions.hits
    or whole.spent is distinct from functions.spent
