-- The same calls summed up twice: by the blog they were made for, and by the model that was asked.
{{ config(meta={'dagster': {'ref': {'name': 'spend_by_blog'}}}) }}

with blogs as (
    select
        day,
        "function",
        sum(calls) as calls,
        sum(spent) as spent
    from {{ ref('spend_by_blog') }}
    group by all
),

functions as (
    select
        day,
        "function",
        sum(calls) as calls,
        sum(spent) as spent
    from {{ ref('spend_by_function') }}
    where product = 'persona'
    group by all
)

select *
from blogs
full join functions using (day, "function")
where
    blogs.calls is distinct from functions.calls
    or blogs.spent is distinct from functions.spent
