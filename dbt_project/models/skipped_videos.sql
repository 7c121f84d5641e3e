select
    fates.video_id,
    fates.channel_id,
    fates.day,
    fates.title,
    fates.url,
    fates.state,
    fates.stage,
    fates.reason,
    case
        when fates.reason is null then 'not looked at yet'
        when fates.reason like 'llm_error:%'
            then 'given up on after the last try: ' || replace(split_part(fates.reason, ':', 2), '_', ' ')
        else coalesce(reasons.words, replace(fates.reason, '_', ' '))
    end as why,
    fates.observed,
    fates.threshold,
    fates.not_before
from {{ ref('video_fates') }} as fates
left join {{ ref('skip_reasons') }} as reasons
    on reasons.reason = fates.reason
where fates.state <> 'analyzed'
order by fates.day desc, fates.channel_id, fates.video_id
