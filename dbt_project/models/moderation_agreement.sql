-- An estimate is the probability that a human turns the text down. Before there is a model it is 0.5 for every text,
-- which says nothing.
with posts as (
    select
        *,
        case when autoreview_version is not null then autoreview_p end as estimate
    from {{ ref('reviewed_posts') }}
),

counted as (
    select
        blog,
        day,
        route,
        coalesce(route_reason, '(none)') as route_reason,
        coalesce(autoreview_version, '(none)') as autoreview_version,
        count(*) as reviews,
        count(*) filter (not is_turned_down) as let_through,
        count(*) filter (not is_turned_down and edited) as let_through_edited,
        count(*) filter (is_turned_down) as turned_down,
        count(estimate) as estimated,
        count(*) filter (estimate < 0.5 and not is_turned_down) as both_let_through,
        count(*) filter (estimate >= 0.5 and is_turned_down) as both_turned_down,
        count(*) filter (estimate >= 0.5 and not is_turned_down) as false_alarms,
        count(*) filter (estimate < 0.5 and is_turned_down) as missed,
        avg(estimate order by outbox_id) as mean_estimate
    from posts
    group by all
)

select
    blog,
    day,
    route,
    route_reason,
    autoreview_version,
    reviews,
    let_through,
    let_through_edited,
    turned_down,
    estimated,
    both_let_through,
    both_turned_down,
    false_alarms,
    missed,
    (both_let_through + both_turned_down) / nullif(estimated, 0) as agreement,
    mean_estimate
from counted
order by blog, day, route, route_reason, autoreview_version
