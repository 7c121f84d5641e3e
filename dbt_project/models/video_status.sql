with counted as (
    select
        analysis_id,
        count(*) filter (status = 'ok') as mentions,
        count(*) filter (status = 'rejected') as rejected_mentions
    from {{ source('lake', 'stock_mentions') }}
    where is_active
    group by analysis_id
)

select
    fates.video_id,
    fates.channel_id,
    fates.day,
    fates.title,
    fates.url,
    fates.state,
    fates.stage,
    fates.status,
    fates.reason,
    fates.not_before,
    fates.observed,
    -- Nothing said of stocks is 0; nothing read is null.
    case when fates.state = 'analyzed' then coalesce(counted.mentions, 0) end as mentions,
    case when fates.state = 'analyzed' then coalesce(counted.rejected_mentions, 0) end as rejected_mentions,
    fates.cost_usd,
    fates.caption_source,
    fates.word_count
from {{ ref('video_fates') }} as fates
left join counted
    on counted.analysis_id = fates.analysis_id
order by fates.day desc, fates.channel_id, fates.video_id
