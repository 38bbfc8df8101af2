module slipway.local/pause

go 1.26.0

tool slipway.local/pause
